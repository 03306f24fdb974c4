"""What the page says of headroom.json: every figure with its interval, what was withheld, and before any training."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Change, headroom, write_headroom
from test_report import Page, page_of

from alignpro.report import write_report
from alignpro.report.drawing import canvas, drawing
from alignpro.report.headroom_charts import distance, drawn_frontier
from alignpro.report.reading import read_run
from alignpro.results import Estimate, Headroom
from alignpro.results.words import count, number, percent, spoken


def sections_of(page: Page) -> list[str | None]:
    return [values.get("id") for tag, values in page.elements if tag == "section"]


def part_of(run_dir: Path) -> str:
    """The text of the section on the headroom."""
    page_of(run_dir)
    html = (run_dir / "report.html").read_text(encoding="utf-8")
    return Page(html[html.index('<section id="headroom">') :].split("</section>")[0]).text


def alone(folder: Path, **changes: Any) -> Path:
    """A folder as it is before any training: settings and an estimate, with `changes` to it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text("seed: 0\n", encoding="utf-8")
    tree = headroom()
    tree["trained_prompter"] = None
    for row in tree["noise"]:
        row["trained_prompter"] = None
    return write_headroom(folder, {**tree, **changes})


def read(run_dir: Path) -> Headroom:
    found = read_run(run_dir).headroom
    assert found is not None
    return found


def estimates(tree: Any, path: str = "") -> Iterator[tuple[str, Estimate]]:
    """Every figure with an interval in headroom.json, and where it stands."""
    if isinstance(tree, list):
        for place, item in enumerate(tree):
            yield from estimates(item, f"{path}/{place}")
    elif isinstance(tree, dict):
        for key, bounds in (("value", "ci95"), ("reward", "ci95"), ("kl", "kl_ci95"), ("objective", "objective_ci95")):
            if key in tree and bounds in tree:
                yield f"{path}/{key}", Estimate(tree[key], *tree[bounds])
        for name, item in tree.items():
            yield from estimates(item, f"{path}/{name}")


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a tree of JSON but the tree itself."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from leaves(item, (*path, key))


def test_every_figure_is_shown_with_its_interval(run_dir: Path) -> None:
    text = part_of(run_dir)
    found = list(estimates(headroom()))
    assert len(found) > 50
    for path, figure in found:
        said = (percent(figure),) if "/share" in path else (spoken(figure), spoken(figure, True))
        assert any(words in text for words in said), (path, said)


def test_figures_without_an_interval_are_shown(run_dir: Path) -> None:
    text, tree = part_of(run_dir), headroom()
    for point in tree["frontier"]:
        assert f"Frontier at kl_coef {point['kl_coef']:g}" in text or point["kl_coef"] == tree["kl_coef"]
        assert number(point["ess"]) in text
        assert f"{number(point['reward_uncorrected'])} uncorrected" in text
    for drawn in tree["gibbs"]:
        assert f"Gibbs, N = {drawn['n']}" in text
        assert number(drawn["kl"]) in text
    for said in ("log Z 4.02", "log Z 5.74", "k3 estimate 0.870", "41.7", "at beta 0.2", "span, 3.10"):
        assert said in text, said
    assert (
        "on 64 prompts: 128 rewrites of each (half by the reference, half by the trained prompter) and 8 responses to"
        in text
    )
    assert f"It took {count(45000)} calls of the frozen model." in text


def test_advice_leads_the_part_and_the_summary_repeats_it(run_dir: Path) -> None:
    words = headroom()["advice"]["text"]
    text = part_of(run_dir)
    assert text.startswith("Headroom: how much there was to gainTrain a prompter: there is something to gain" + words)
    assert f"Headroom: {words}" in page_of(run_dir).summary


def test_withheld_and_needed_are_told(run_dir: Path) -> None:
    text = part_of(run_dir)
    assert "frontier at kl_coef 0.0625effective sample size 4.1, under 10420118\u202f000" in text
    assert "A figure needs 10 effective samples a prompt." in text
    assert "reward at the optimum± 0.070± 0.03525690\u202f000" in text


@pytest.mark.parametrize(
    ("verdict", "title"),
    [
        ("train", "Train a prompter: there is something to gain"),
        ("sample", "Sample rewrites: that needs no training"),
        ("neither", "Neither train nor sample: there is little to gain"),
        ("unsure", "Too uncertain to say whether training would pay"),
        ("a word nobody knows", "How much there is to gain"),
    ],
)
def test_before_training_the_advice_is_the_answer(tmp_path: Path, verdict: str, title: str) -> None:
    run_dir = alone(tmp_path / "run", advice={"verdict": verdict, "text": "Because it was estimated so."})
    page = page_of(run_dir)
    assert page.title == title
    assert sections_of(page) == [None, "headroom", "making"]
    assert page.text.count("Because it was estimated so.") == 1
    assert "Because it was estimated so." in page.summary
    assert "+0.44 [0.37, 0.50]" in page.summary
    assert "Nothing is trained or compared yet" in page.summary
    assert "1 figure was withheld for want of samples" in page.summary
    assert "is missing" not in page.text
    assert "Align-Pro" not in page.text
    assert "Headroom: how much there is to gain" in page.text


def test_before_training_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (alone(tmp_path / place / "run") for place in "ab")
    assert write_report(first).read_bytes() == write_report(second).read_bytes()


def test_whatever_is_null_is_read(tmp_path: Path) -> None:
    run_dir = write_headroom(tmp_path)
    for path in leaves(headroom()):
        tree = headroom()
        holder = tree
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = None
        # Drawing every one of them would take minutes; the plain data is where null could do harm.
        found = read(write_headroom(run_dir, tree))
        assert found.in_plane, path


@pytest.mark.parametrize(
    "gone",
    [
        ("optimum",),
        ("trained_prompter",),
        ("rlhf_optimum",),
        ("frontier",),
        ("no_prompter", "reference_prompter"),
        ("frontier", "optimum", "trained_prompter", "gibbs"),
        ("kl_coef", "beta", "prompts", "min_ess", "frozen_calls"),
        ("d1", "d2", "gap"),
        ("bounds", "noise", "withheld", "needs", "gibbs"),
        ("advice",),
    ],
)
def test_null_parts_leave_the_others_standing(run_dir: Path, gone: tuple[str, ...]) -> None:
    page = page_of(write_headroom(run_dir, {**headroom(), **dict.fromkeys(gone)}))
    assert "headroom" in sections_of(page)
    assert not re.search(r"\bnan\b|None", page.text)


def test_figures_that_are_all_null_are_dashes(run_dir: Path) -> None:
    def emptied(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: emptied(item) for key, item in tree.items()}
        return [emptied(item) for item in tree] if isinstance(tree, list) else None

    tree = emptied(headroom())
    tree["advice"] = {"verdict": "unsure", "text": "Too few samples."}
    page = page_of(write_headroom(run_dir, tree))
    assert "Too few samples." in page.summary
    assert "of the possible gain" not in page.summary
    assert not re.search(r"\bnan\b|None", page.text)


@pytest.mark.parametrize(
    "text", ['{"schema": 1, "no_prom', "[1, 2]", "3", '"headroom"', "{}", '{"frontier": []}', "\xff"]
)
def test_broken_file_is_noted_and_the_rest_stands(run_dir: Path, text: str) -> None:
    (run_dir / "headroom.json").write_bytes(text.encode("latin-1"))
    page = page_of(run_dir)
    assert page.title == "The trained prompter beat no prompter"
    assert page.summary.count("headroom.json") == 1
    assert "headroom" not in sections_of(page)
    assert "kl" in sections_of(page)


def test_parts_of_the_wrong_shape_are_left_out(run_dir: Path) -> None:
    wrong: Any = [3, "text", [1], {"a": 1}, True]
    for place, key in enumerate(headroom()):
        tree = {**headroom(), key: wrong[place % len(wrong)]}
        read(write_headroom(run_dir, tree))
    tree = {
        **headroom(),
        "optimum": [],
        "bounds": 1,
        "gibbs": [4, {}],
        "frontier": {"kl": 1},
        "noise": [{}],
        "needs": 2,
    }
    assert "headroom" in sections_of(page_of(write_headroom(run_dir, tree)))


def test_run_without_an_estimate_needs_none(run_dir: Path) -> None:
    (run_dir / "headroom.json").unlink()
    page = page_of(run_dir)
    assert "headroom" not in page.text.lower()
    assert sections_of(page).count("kl") == 1


def test_optimum_of_an_older_evaluation_changes_nothing(run_dir: Path, change: Change) -> None:
    before = write_report(run_dir).read_bytes()
    change(lambda tree: tree.update(optimum={"kl_coef": 0.1, "share_of_gain": 0.5, "frontier": [{"kl": 1}]}))
    assert write_report(run_dir).read_bytes() == before


def test_plane_of_arms_stays_where_the_estimate_is_older_than_the_training(run_dir: Path) -> None:
    assert "kl" not in sections_of(page_of(run_dir))
    write_headroom(run_dir, {**headroom(), "trained_prompter": None})
    assert {"kl", "headroom"} <= set(sections_of(page_of(run_dir)))


def test_run_stopped_in_training_still_tells_what_there_was_to_gain(run_dir: Path) -> None:
    (run_dir / "evaluation.json").unlink()
    page = page_of(run_dir)
    assert page.title == "This run has no final comparison"
    assert f"Headroom: {headroom()['advice']['text']}" in page.summary


def test_distance_is_drawn_as_long_as_it_is_told_and_reaches_the_line_of_equal_objective(run_dir: Path) -> None:
    found = read(run_dir)
    assert found.optimum and found.trained_prompter and found.trained_prompter.distance
    with drawing("test"):
        _, axes = canvas(300)
        distance(axes, found.kl_coef, found.optimum, found.trained_prompter, found.trained_prompter.distance)
    upright, line = (plotted.get_xydata() for plotted in axes.get_lines())
    assert upright[0] == pytest.approx([found.trained_prompter.kl.value, found.trained_prompter.reward.value])
    assert upright[1][1] - upright[0][1] == pytest.approx(found.trained_prompter.distance.value)
    slope = (line[1][1] - line[0][1]) / (line[1][0] - line[0][0])
    assert slope == pytest.approx(found.kl_coef)
    assert upright[1][1] == pytest.approx(line[0][1] + slope * (upright[1][0] - line[0][0]))


def test_plane_does_not_follow_the_frontier_out_of_sight(tmp_path: Path) -> None:
    found = read(alone(tmp_path / "run"))
    assert [point.kl_coef for point in found.curve] == [2.0, 1.0, 0.5, 0.35, 0.25, 0.18, 0.125]
    assert [point.kl_coef for point in drawn_frontier(found)] == [2.0, 1.0, 0.5, 0.35, 0.25, 0.18]
    assert "goes on to the right" in part_of(tmp_path / "run")
    bare = read(alone(tmp_path / "run", optimum=None, gibbs=[]))
    assert drawn_frontier(bare) == bare.curve


def test_bounds_say_when_they_are_not_measured(run_dir: Path) -> None:
    said = "could not be measured here"
    assert said not in part_of(run_dir)
    tree = copy.deepcopy(headroom())
    tree["bounds"]["tv_measured"] = False
    assert said in part_of(write_headroom(run_dir, tree))


def test_names_cannot_become_markup(run_dir: Path) -> None:
    attack = "</style></svg><script>alert(1)</script><img src=x onerror=alert(2)>$x$"
    tree = headroom()
    tree["reward"] = tree["advice"]["text"] = tree["advice"]["verdict"] = attack
    for key in ("figure", "why"):
        tree["withheld"][0][key] = attack
    tree["needs"][0]["figure"] = attack
    tree["noise"][1]["noise"] = attack
    for before_training in (False, True):
        if before_training:
            for name in ("evaluation.json", "samples.jsonl", "metrics.jsonl", "rlhf/metrics.jsonl"):
                (run_dir / name).unlink()
        page = page_of(write_headroom(run_dir, tree))
        assert [kind for kind, _ in page.scripts] == [None] if before_training else ["application/json", None]
        assert "img" not in {tag for tag, _ in page.elements}
        assert page.text.count(attack) >= 5


def test_numbers_that_are_none_read_as_undefined(tmp_path: Path) -> None:
    text = json.dumps(headroom()).replace('"kl_k3": 0.87', '"kl_k3": NaN').replace('"ess": 41.7', '"ess": Infinity')
    (tmp_path / "headroom.json").write_text(text, encoding="utf-8")
    found = read(tmp_path)
    assert found.trained_prompter and found.rlhf_optimum
    assert math.isnan(found.trained_prompter.kl_k3) and math.isnan(found.rlhf_optimum.ess)


def test_rewards_of_0_and_1_are_called_accuracy(tmp_path: Path) -> None:
    said = part_of(alone(tmp_path / "shares", kind="share"))
    assert "Accuracy: " in said and "intervals of shares" in said and "Mean reward" not in said
    said = part_of(alone(tmp_path / "means"))
    assert "Mean reward: " in said and "ccuracy" not in said and "shares" not in said
