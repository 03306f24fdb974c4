"""A training that goes wrong with finite numbers is told of once, and once only after it was resumed."""

import re

import pytest

from alignpro.runtime.files import append_jsonl, read_jsonl
from alignpro.train.watch import BEGINNING, EMPTY, FURTHEST, Watch


def row(step, kl=0.5, empty=0.0, objective=0.6, reward_unit=0.5):
    figures = {"kl": kl, "empty": empty, "objective": objective, "reward_zero": 0.6, "reward_unit": reward_unit}
    return {"step": step, **figures}


@pytest.mark.parametrize(
    ("kind", "fine", "gone", "says"),
    [
        ("kl", {"kl": FURTHEST}, {"kl": 38.0}, "at step 3 the KL is 38.0 nats"),
        ("kl", {"kl": float("nan")}, {"kl": float("inf")}, "at step 3 the KL is inf nats"),
        (
            "empty",
            {"empty": EMPTY},
            {"empty": 0.62},
            r"at step 3 the policy wrote nothing in 62% of its samples \(0% at",
        ),
    ],
)
def test_each_sign_is_told_once_past_its_bound(tmp_path, kind, fine, gone, says):
    said = []
    watch = Watch(tmp_path, 0, 100, said.append)
    for step, figures in enumerate(({}, fine, gone, gone), 1):
        append_jsonl(tmp_path / "metrics.jsonl", [row(step, **figures)])
        watch.after(row(step, **figures))
        assert len(said) == (step > 2)
    (kept,) = read_jsonl(tmp_path / "notices.jsonl")
    assert (kept["about"], kept["step"]) == (kind, 3)
    assert re.search(says, kept["text"])
    assert kept["text"] in said[0]


def test_a_reference_that_writes_nothing_now_and_then_is_no_collapse(tmp_path):
    said = []
    watch = Watch(tmp_path, 0, 100, said.append)
    for step, share in enumerate((0.3, 0.5, 0.6), 1):
        watch.after(row(step, empty=share))
    assert not said
    watch.after(row(4, empty=0.61))
    assert len(said) == 1


def test_a_resumed_run_says_no_notice_twice_and_forgets_those_of_steps_made_again(tmp_path):
    said = []
    first = Watch(tmp_path, 0, 100, said.append)
    for step in (1, 2, 3):
        first.after(row(step, kl=0.5 + 30 * (step > 1), empty=0.9 * (step > 2)))
    assert [r["about"] for r in read_jsonl(tmp_path / "notices.jsonl")] == ["kl", "empty"]
    append_jsonl(tmp_path / "metrics.jsonl", [row(1), row(2, kl=30.5)])
    again = Watch(tmp_path, 2, 100, said.append)
    again.after(row(3, kl=30.5))
    assert len(said) == 2
    again.after(row(4, empty=0.9))
    assert [(r["about"], r["step"]) for r in read_jsonl(tmp_path / "notices.jsonl")] == [("kl", 2), ("empty", 4)]


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"step_kl": 1e-9}, "a step moves the policy by 1e-09 nats: in 100 steps"),
        ({"step_kl": 0.0}, "a step moves the policy by 0 nats"),
        ({"step_kl": 1e-5}, None),
    ],
)
def test_a_policy_that_stands_still_is_told_of_after_the_first_steps(tmp_path, figures, says):
    said = []
    watch = Watch(tmp_path, 0, 100, said.append)
    for step in range(1, 31):
        watch.after(row(step) | figures)
        assert len(said) == (says is not None and step >= BEGINNING)
    assert all(says in one for one in said)


def test_training_that_does_harm_is_told_over_several_steps(tmp_path):
    said = []
    watch = Watch(tmp_path, 0, 100, said.append)
    for step, objective in enumerate((-0.5, 0.6, 0.6, 0.6, 0.6, -0.5, -0.9), 1):
        watch.after(row(step, objective=objective))
        assert len(said) == (step == 7)
    assert "is 0.08; the untrained policy's was 0.6" in said[0]


def test_rewards_that_are_all_equal_are_told(tmp_path):
    said = []
    watch = Watch(tmp_path, 0, 100, said.append)
    for step in range(1, 7):
        watch.after(row(step, reward_unit=float("nan")))
        assert len(said) == (step >= 5)
    assert "all rewards of 5 steps are equal (0.6)" in said[0]
