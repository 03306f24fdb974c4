"""Rewards of 0 and 1 through a whole run: shares with their own intervals, and accuracy where a win rate would tie."""

import json

import numpy as np
import pytest
from cli import copied, settings

from alignpro.config import load
from alignpro.export.card import card
from alignpro.maths.shares import share_difference, share_interval
from alignpro.report import write_report
from alignpro.report.readme_figure import write_readme_figure
from alignpro.results import Evaluation
from alignpro.running import job
from alignpro.running.rejudge import judge_again
from alignpro.runtime.files import read_json, read_jsonl

VERIFIERS = """
def even(prompts, responses):
    return [len(r) % 2 for r in responses]

def vowel(prompts, responses):
    return [any(v in r for v in "ae") for r in responses]

def thirds(prompts, responses):
    return [float(len(r) % 3 == 0) for r in responses]
"""
SETTINGS = (
    "reward.model=python:verifiers:even",
    "evaluate.second_reward=python:verifiers:vowel",
    "train.steps=1",
    "evaluate.arms=[no_prompter,reference_prompter,align_pro]",
)


@pytest.fixture(scope="module")
def run(workshop, tmp_path_factory):
    out = tmp_path_factory.mktemp("shares") / "run"
    (workshop / "verifiers.py").write_text(VERIFIERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workshop)
        job.run(settings(workshop, *SETTINGS), out)
    return out


@pytest.fixture
def evaluation(run):
    return read_json(run / "evaluation.json")


def rewards(run, arm, key="reward"):
    """Rewards [B, K] of an arm's answers, from samples.jsonl."""
    rows = [row for row in read_jsonl(run / "samples.jsonl") if (row["stage"], row["arm"]) == ("evaluation", arm)]
    prompts = {row["prompt_id"]: [] for row in rows}
    for row in rows:
        prompts[row["prompt_id"]].append(np.nan if row[key] is None else row[key])
    return np.array(list(prompts.values()))


def test_means_and_differences_are_those_of_shares(run, evaluation):
    for name, arm in evaluation["arms"].items():
        own, second = rewards(run, name), rewards(run, name, "second_reward")
        assert arm["kind"] == arm["second_reward"]["kind"] == "share"
        assert arm["ci95"] == pytest.approx(share_interval(own))
        assert arm["second_reward"]["ci95"] == pytest.approx(share_interval(second))
    assert len(evaluation["differences"]) == 6
    for row in evaluation["differences"]:
        key = "reward" if row["reward"] == evaluation["reward"] else "second_reward"
        value, interval = share_difference(rewards(run, row["a"], key), rewards(run, row["b"], key))
        assert row["kind"] == "share"
        assert (row["mean_difference"], *row["ci95"]) == pytest.approx((value, *interval))


def test_the_judge_has_a_difference_in_accuracy_that_is_won_less_lost(evaluation):
    assert len(evaluation["win_rates"]) == 3
    for row in evaluation["win_rates"]:
        judged = row["win"] + row["tie"] + row["loss"]
        assert row["accuracy_difference"] == pytest.approx((row["win"] - row["loss"]) / judged, abs=0.02)
        low, high = row["accuracy_difference_ci95"]
        assert low < row["accuracy_difference"] < high


def test_every_page_speaks_of_accuracy_and_heads_no_win_rate(run, evaluation, inside, tmp_path):
    page = (run / "report.html").read_text().replace("Mean reward of the step&#39;s samples", "")
    assert "Accuracy (verifiers:even) was" in page and "accuracy gained" in page
    assert "Accuracy over no prompter" in page and "Accuracy by arm" in page
    assert "come out too narrow" not in page  # with four prompts, of which an interval of shares makes no secret
    for gone in ("comparisons won", "Win rate over no prompter", "Mean reward", "mean reward", "second reward gained"):
        assert gone not in page
    code, printed = inside("judge", str(run))
    assert code == 0 and "accuracy" in printed and "win rate" not in printed
    whole = Evaluation.model_validate(evaluation)
    notebook = whole._repr_html_()
    assert "accuracy (verifiers:even)" in notebook and "mean reward" not in notebook
    told = card(load(run / "config.yaml"), whole, "full")
    assert "| accuracy |" in told and "win rate" not in told.lower() and "Wins were judged" not in told
    figure = write_readme_figure(run, tmp_path / "figure.svg").read_text()
    assert "Accuracy over no prompter" in figure and "Win rate" not in figure


def test_a_judge_of_its_own_that_scores_0_or_1_bears_witness_by_accuracy(run, workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    copy = copied(run, tmp_path / "run")
    summary = judge_again(copy, ["evaluate.judge=python:verifiers:thirds"])
    (row,) = [row for row in summary.wins_over("align_pro", "no_prompter") if row.judge == "verifiers:thirds"]
    assert row.accuracy is not None and row.mirrored().accuracy == row.accuracy.mirrored()
    assert (
        "By verifiers:thirds, which was not trained on, the gain in accuracy is" in (copy / "report.html").read_text()
    )
    assert "verifiers:thirds (accuracy)" in card(load(run / "config.yaml"), summary, "full")


def test_an_older_file_without_kinds_is_shown_as_before(run, evaluation, tmp_path):
    copy = copied(run, tmp_path / "run")

    def without(tree):
        if isinstance(tree, list):
            return [without(item) for item in tree]
        new = ("check", "kind", "accuracy_difference", "accuracy_difference_ci95")
        return {k: without(v) for k, v in tree.items() if k not in new} if isinstance(tree, dict) else tree

    (copy / "evaluation.json").write_text(json.dumps(without(evaluation)))
    page = write_report(copy).read_text()
    assert "Mean reward (verifiers:even) was" in page and "Win rate over no prompter" in page
