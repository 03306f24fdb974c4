"""Runs that were stopped, torn or never had some part: what there is gets reported, what is missing gets said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ARMS, Change, metrics, samples, write_lines, write_run
from test_report import page_of

from alignpro.errors import UsageError
from alignpro.report import write_readme_figure, write_report
from alignpro.report.reading import read_run
from alignpro.runtime import files


def test_run_stopped_in_training_says_so_and_shows_its_curves(run_dir: Path) -> None:
    (run_dir / "evaluation.json").unlink()
    (run_dir / "environment.json").unlink()
    write_lines(run_dir / "metrics.jsonl", metrics(20))
    write_lines(run_dir / "samples.jsonl", [line for line in samples() if line["stage"] == "monitor"])
    page = page_of(run_dir)
    assert page.title == "This run has no final comparison"
    assert "20 of 60 training steps are recorded" in page.summary
    assert "evaluation.json is missing: there is no comparison of arms." in page.summary
    assert "environment.json is missing" in page.summary
    assert "beat no prompter" not in page.text
    sections = [values.get("id") for tag, values in page.elements if tag == "section"]
    assert sections == [None, "headroom", "training", "making"]
    with pytest.raises(UsageError, match=r"evaluation\.json"):
        write_readme_figure(run_dir, run_dir / "figure.svg")


def test_answers_without_their_comparison_are_still_shown(run_dir: Path) -> None:
    (run_dir / "evaluation.json").unlink()
    page = page_of(run_dir)
    sections = [values.get("id") for tag, values in page.elements if tag == "section"]
    assert sections == [None, "headroom", "spread", "training", "examples", "making"]


def test_comparison_alone_is_enough(run_dir: Path) -> None:
    for name in ("config.yaml", "environment.json", "samples.jsonl", "metrics.jsonl"):
        (run_dir / name).unlink()
    shutil.rmtree(run_dir / "rlhf")
    page = page_of(run_dir)
    assert page.title == "The trained prompter beat no prompter"
    assert page.summary.count("is missing") == 4
    assert "examples-data" not in {values.get("id") for _, values in page.elements}


def test_a_run_that_was_to_train_nothing_misses_no_curves(run_dir: Path) -> None:
    settings = yaml.safe_load((run_dir / "config.yaml").read_text())
    settings["train"]["steps"] = 0
    (run_dir / "config.yaml").write_text(yaml.safe_dump(settings))
    (run_dir / "metrics.jsonl").unlink()
    shutil.rmtree(run_dir / "rlhf")
    assert "is missing" not in page_of(run_dir).summary


def test_torn_lines_are_skipped_and_counted(run_dir: Path) -> None:
    for name in ("samples.jsonl", "metrics.jsonl"):
        whole = (run_dir / name).read_bytes()
        # Ends inside a record and inside a character, as a killed process leaves it.
        (run_dir / name).write_bytes(whole + '{"stage": "evaluation", "step": 61, "prompt": "é'.encode()[:-1])
    page = page_of(run_dir)
    assert "samples.jsonl: 1 torn line skipped." in page.summary
    assert "metrics.jsonl: 1 torn line skipped." in page.summary
    assert len(page.examples["prompts"]) == 12


def test_line_separators_inside_texts_do_not_cut_lines(run_dir: Path) -> None:
    lines = samples()
    for line in lines:
        line["response"] = "one\u2028two\x85three\x0cfour"
    write_lines(run_dir / "samples.jsonl", lines)
    run = read_run(run_dir)
    assert not run.notes
    assert len(run.samples) + len(run.monitor) == len(lines)


def test_steps_written_again_after_a_resume_count_once(run_dir: Path) -> None:
    first = metrics(20)
    write_lines(run_dir / "metrics.jsonl", first[:15] + [{**line, "reward": 9.0} for line in first[10:]])
    training = read_run(run_dir).training
    assert list(training["step"]) == list(range(1, 21))
    assert list(training["reward"][10:]) == [9.0] * 10


def test_missing_rewards_are_dashes_and_take_no_part_in_means(run_dir: Path) -> None:
    lines = [line for line in samples() if line["stage"] == "evaluation"]
    kept = 2.5
    answers = [line for line in lines if (line["arm"], line["prompt_id"]) == ("align_pro", 5)]
    for place, line in enumerate(answers):
        line["reward"] = kept if place == 3 else None
    for line in lines:
        if line["prompt_id"] == 6:
            line["reward"] = None
    write_lines(run_dir / "samples.jsonl", lines)
    prompts = {entry["id"]: entry["arms"]["align_pro"] for entry in page_of(run_dir).examples["prompts"]}
    assert prompts["5"]["r"] is None
    assert prompts["5"]["mean"] == kept
    assert prompts["6"]["mean"] is None


def test_undefined_figures_are_dashes(change: Change) -> None:
    def undefine(tree: dict[str, Any]) -> None:
        arm = tree["arms"]["align_pro"]
        arm.update(mean_reward=None, ci95=[None, None], reward_variance=float("nan"), kl_to_reference=None)
        for found in tree["differences"]:
            found.update(mean_difference=None, ci95=None)
        for wr in tree["win_rates"]:
            wr.update(win=0, tie=0, loss=0, win_rate=None, ci95=[None, None], order_consistency=None)

    page = page_of(change(undefine))
    assert page.title == "Whether the trained prompter beat no prompter cannot be said: the comparison has no interval"
    assert "Mean reward (lab reward model) was – with the trained prompter" in page.summary
    assert "nan" not in page.text.lower().split()


def test_difference_without_interval_is_no_verdict(change: Change) -> None:
    def cut(tree: dict[str, Any]) -> None:
        for found in tree["differences"]:
            del found["ci95"]

    page = page_of(change(cut))
    assert page.title.startswith("Whether the trained prompter beat no prompter cannot be said")
    assert "without an interval chance is not ruled out" in page.summary


@pytest.mark.parametrize(
    ("arm", "title"),
    [
        ("align_pro", "Align-Pro was measured, with nothing to compare it to"),
        ("no_prompter", "No prompter was measured, with nothing to compare it to"),
    ],
)
def test_one_arm_is_measured_and_not_compared(tmp_path: Path, arm: str, title: str) -> None:
    run_dir = write_run(tmp_path / "run", arms={arm: ARMS[arm]})
    page = page_of(run_dir)
    assert page.title == title
    assert [found["name"] for found in page.examples["head"]["arms"]] == [arm]
    write_readme_figure(run_dir, tmp_path / "figure.svg")


def test_run_without_trained_prompter_is_about_what_it_has(tmp_path: Path) -> None:
    arms = {name: ARMS[name] for name in ("no_prompter", "gibbs_8")}
    page = page_of(write_run(tmp_path / "run", arms=arms))
    assert page.title == "Gibbs, N = 8 beat no prompter"
    assert "trained prompter" not in page.summary


@pytest.mark.parametrize(
    "content", [None, {}, {"config.yaml": "seed: 0\n"}, {"evaluation.json": "{", "metrics.jsonl": "{"}]
)
def test_folder_without_a_run_is_refused(tmp_path: Path, content: dict[str, str] | None) -> None:
    folder = tmp_path / "run"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="wanted"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_files_of_the_wrong_shape_do_not_break_the_page(run_dir: Path) -> None:
    (run_dir / "config.yaml").write_text("a: [", encoding="utf-8")
    (run_dir / "environment.json").write_text("[1, 2]", encoding="utf-8")
    write_lines(run_dir / "rlhf" / "metrics.jsonl", [{"step": 1, "reward": "high"}, {"reward": 2}], "3\n")
    tree = json.loads((run_dir / "evaluation.json").read_text(encoding="utf-8"))
    tree.update(win_rates=None, cost=3, differences=[*tree["differences"], 7])
    tree["arms"]["broken"] = "an arm"
    (run_dir / "evaluation.json").write_text(json.dumps(tree), encoding="utf-8")
    page = page_of(run_dir)
    assert page.title == "The trained prompter beat no prompter"
    assert "config.yaml is not valid YAML" in page.summary
    assert "broken" not in page.text


def test_one_step_and_equal_rewards_can_be_drawn(run_dir: Path) -> None:
    write_lines(run_dir / "metrics.jsonl", metrics(1))
    lines = samples()
    for line in lines:
        line["reward"] = 1.0
    write_lines(run_dir / "samples.jsonl", lines)
    page = page_of(run_dir)
    assert "median 1.00" in page.text


def test_a_torn_file_is_told_of_in_the_same_words_wherever_the_folder_stands(tmp_path: Path) -> None:
    pages = []
    for place in ("here", "there"):
        folder = write_run(tmp_path / place / "run")
        (folder / "evaluation.json").write_text('{"arms": {', encoding="utf-8")
        (folder / "headroom.json").write_text("{", encoding="utf-8")
        pages.append(write_report(folder).read_bytes())
    assert pages[0] == pages[1]
    assert b"evaluation.json is not complete JSON; sample its answers again by" in pages[0]


def test_what_a_training_was_warned_of_stands_at_the_top(run_dir: Path) -> None:
    write_lines(run_dir / "notices.jsonl", [{"step": 7, "about": "kl", "text": "at step 7 the KL is 38.0 nats"}])
    write_lines(run_dir / "rlhf" / "notices.jsonl", [{"step": 2, "about": "empty", "text": "it wrote <nothing>"}])
    page = page_of(run_dir)
    assert "Before you trust these figures" in page.summary
    assert "at step 7 the KL is 38.0 nats." in page.summary
    assert "The RLHF oracle: it wrote <nothing>." in page.summary


def test_steps_that_are_lost_are_told(tmp_path):
    """Lines that were cut away leave no torn one behind."""
    for step in (1, 2, 4):
        files.append_jsonl(tmp_path / "metrics.jsonl", [{"step": step, "reward": 0.5}], checked=True)
    (tmp_path / "config.yaml").write_text("train: {steps: 6}\n")
    lost = [note for note in read_run(tmp_path).notes if "lacks" in note]
    assert [note.partition(";")[0] for note in lost] == ["metrics.jsonl lacks 1 of 4 steps"]
    (tmp_path / "prompter").mkdir()
    lost = [note for note in read_run(tmp_path).notes if "lacks" in note]
    assert [note.partition(";")[0] for note in lost] == ["metrics.jsonl lacks 3 of 6 steps"]
    for step in (3, 5, 6):
        files.append_jsonl(tmp_path / "metrics.jsonl", [{"step": step, "reward": 0.5}], checked=True)
    assert not [note for note in read_run(tmp_path).notes if "lacks" in note]
