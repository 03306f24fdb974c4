"""What a long stage shows: a line now and then, by the batch, with what remains."""

import pytest

from alignpro.runtime import progress
from alignpro.runtime.progress import TEXTS, Progress, expect, tell


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def at(clock, seconds, work, *told):
    clock[0] = seconds
    work(*told)


def test_units_are_told_with_what_remains(clock, capsys):
    with Progress().task("asking", 10) as advance:
        advance(0, "")
        at(clock, 5, advance, 1, "")
        at(clock, 20, advance, 2, "fine")
        at(clock, 100, advance, 10, "")
    assert capsys.readouterr().err == "asking 2/10, about 80 s left  fine\nasking 10/10, 100 s\n"


def test_batches_within_a_unit_are_told_before_any_unit_is_done(clock, capsys):
    with Progress().task("estimating", 32) as advance:
        advance(0, "0 answers")
        expect(16, 1000)
        at(clock, 5, tell, 50, 200, TEXTS)
        at(clock, 30, tell, 100, 200, TEXTS)  # 1.6 of 32 prompts in 30 s
        at(clock, 60, tell, 100, 400, "likelihoods")
        at(clock, 90, tell, 100, 800, TEXTS)  # another call: 3.2 of 32
        at(clock, 95, advance, 16, "")
        at(clock, 100, tell, 5, 5, TEXTS)  # nothing is known of these texts
    assert capsys.readouterr().err.splitlines() == [
        "estimating 0/32, about 570 s left  0 answers; texts 100/200",
        "estimating 0/32, about 1140 s left  0 answers; likelihoods 100/400",
        "estimating 0/32, about 810 s left  0 answers; texts 100/800",
        "estimating 16/32, about 90 s left  texts 5/5",
    ]


def test_a_number_that_is_told_again_counts_once(clock, capsys):
    with Progress().task("evaluating", 1) as advance:
        advance(0, "")
        expect(1, 100)
        for done in (1, 10, 10, 20, 20):
            at(clock, done, tell, done, 100, TEXTS)
    assert capsys.readouterr().err.splitlines() == [
        "evaluating 0/1, about 90 s left  texts 10/100",
        "evaluating 0/1, about 80 s left  texts 20/100",
    ]


def test_what_was_done_before_counts_for_no_pace_and_too_many_texts_end_no_unit(clock, capsys):
    with Progress().task("estimating", 32) as advance:
        advance(16, "")
        at(clock, 20, tell, 1, 2, "scores")
        expect(16, 10)
        at(clock, 99, tell, 500, 1000, TEXTS)
    assert capsys.readouterr().err.splitlines() == [
        "estimating 16/32  scores 1/2",
        "estimating 16/32, about 1 s left  texts 500/1,000",
    ]


def test_a_task_that_goes_on_tells_so_and_counts_every_unit_of_its_own(clock, capsys):
    with Progress().task("training", 60, 22) as advance:
        at(clock, 10, tell, 29, 128, TEXTS)
        at(clock, 40, advance, 23, "")
        at(clock, 60, tell, 19, 128, TEXTS)
        at(clock, 80, advance, 24, "")
    assert capsys.readouterr().err.splitlines() == [
        "training 22/60  texts 29/128",
        "training 23/60, about 1480 s left",
        "training 23/60, about 1460 s left  texts 19/128",
        "training 24/60, about 1440 s left",
    ]


def test_units_of_unlike_size_are_told_by_their_sizes_and_the_last_without_a_guess(clock, capsys):
    with Progress().task("evaluating", 3, sizes=[100, 100, 800]) as advance:
        advance(0, "a")
        at(clock, 10, advance, 1, "b")
        at(clock, 20, advance, 2, "c")
        expect(1, 800)
        at(clock, 60, tell, 400, 800, TEXTS)
        at(clock, 100, advance, 3, "")
    with Progress().task("asking", 2) as advance:
        at(clock, 130, advance, 1, "")
        at(clock, 145, tell, 1, 2, "likelihoods")
        at(clock, 200, tell, 2, 2, "likelihoods")
    assert capsys.readouterr().err.splitlines() == [
        "evaluating 1/3, about 90 s left  b",
        "evaluating 2/3, about 80 s left  c",
        "evaluating 2/3, about 40 s left  c; texts 400/800",
        "evaluating 3/3, 100 s",
        "asking 1/2, about 30 s left",
        "asking 1/2  likelihoods 1/2",
        "asking 1/2  likelihoods 2/2",
    ]


@pytest.mark.parametrize("sizes", [None, []])
def test_work_without_a_unit_is_told_as_done(clock, capsys, sizes):
    with Progress().task("asking", 0, sizes=sizes) as advance:
        at(clock, 3, advance, 0, "")
    with Progress().task("training", 60, 60) as advance:
        at(clock, 9, advance, 60, "")
    assert capsys.readouterr().err.splitlines() == ["asking 0/0, 3 s", "training 60/60, 6 s"]


def test_what_is_read_after_the_last_unit_is_told_now_and_then(clock, capsys):
    with Progress().task("training", 2) as advance:
        at(clock, 5, advance, 2, "")
        for done in range(1, 30):
            at(clock, 5 + done, tell, done, 30, TEXTS)
    assert capsys.readouterr().err.splitlines() == [
        "training 2/2, 5 s",
        "training 2/2, 15 s  texts 10/30",
        "training 2/2, 25 s  texts 20/30",
    ]


def test_without_a_task_nothing_is_told(clock, capsys):
    with Progress().task("outer", 2), Progress().task("inner", 2):
        at(clock, 20, tell, 1, 2, TEXTS)
    at(clock, 40, tell, 2, 2, TEXTS)
    expect(1, 2)
    assert capsys.readouterr().err == "inner 0/2  texts 1/2\n"
