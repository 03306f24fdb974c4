"""Training watched by validation prompts: what is read when, early stops, the best weights, kill and resume."""

import json

import pytest
from cli import settings

import alignpro
from alignpro.errors import Interrupted
from alignpro.fits.rlhf import fine_tune
from alignpro.report.reading import read_run
from alignpro.running.prompts import prompts_of
from alignpro.runtime.files import read_jsonl

FAST = (
    "train.ppo.learning_rate=4e-3",
    "train.ppo.anneal=false",
    "train.kl.coef=0.01",
    "evaluate.arms=[align_pro]",
    "evaluate.every=1",
    "evaluate.monitor_prompts=5",
)
ORACLE = (
    "rlhf.ppo.learning_rate=4e-3",
    "rlhf.kl.coef=0.01",
    "rlhf.steps=5",
    "rlhf.prompts_per_step=4",
    "rlhf.save_every=2",
)


def looked(folder):
    return read_jsonl(folder / "validation.jsonl")


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_test_prompts_are_read_once_at_the_end(workshop, spy, tmp_path):
    run = settings(workshop, "reward.model=python:rewards:spy", "evaluate.every=2", "train.steps=3")
    alignpro.run(run, tmp_path / "run", only_train=True)
    prompts = prompts_of(run.data, run.split_seed)
    assert not spy.prompts & {x.text for x in prompts.test}
    assert spy.prompts & {x.text for x in prompts.validation}
    rows = looked(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 2, 3]
    for row in rows:
        assert row["objective"] == pytest.approx(row["reward"] - run.train.kl.coef * row["kl"])
    monitored = read_jsonl(tmp_path / "run" / "samples.jsonl")
    assert {row["prompt"] for row in monitored} <= {x.text for x in prompts.validation}
    first = [row["reward"] for row in monitored if row["step"] == 0]
    assert rows[0]["reward"] == pytest.approx(sum(first) / len(first))
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    seen = read_run(tmp_path / "run").validation
    assert seen["objective"].tolist() == pytest.approx([row["objective"] for row in rows])


def test_the_best_weights_are_those_of_the_best_look(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    run = settings(workshop, *FAST, "train.steps=5", "train.take=best")
    alignpro.run(run, tmp_path / "best", only_train=True)
    rows = looked(tmp_path / "best")
    best = max(rows, key=lambda row: row["objective"])["step"]
    alignpro.run(settings(workshop, *FAST, "train.steps=5"), tmp_path / "last", only_train=True)
    assert looked(tmp_path / "last") == rows  # to look and to keep changes nothing
    expected = tmp_path / "last" if best == 5 else tmp_path / "shorter"
    if best < 5:
        few = settings(workshop, *FAST, f"train.steps={best}", "train.save_every=1")
        alignpro.run(few, expected, only_train=True)
    assert weights(tmp_path / "best" / "prompter") == weights(expected / "prompter")


def test_with_patience_it_stops_early_and_goes_on_from_wherever_it_was_stopped(workshop, spy, tmp_path, capfd):
    more = ("reward.model=python:rewards:spy", "train.patience=2", "train.take=best", "train.average=0.3")
    run = settings(workshop, *FAST, *more, "train.steps=12")
    whole = alignpro.run(run, tmp_path / "whole")
    rows = looked(tmp_path / "whole")
    assert rows[-1]["step"] < 12
    assert rows[-1]["objective"] <= max(row["objective"] for row in rows[:-1])
    assert "stopped after step" in capfd.readouterr().err
    assert whole.training_prompts <= rows[-1]["step"] * run.train.prompts_per_step
    calls = 2 * rows[-1]["step"]
    spy.calls, spy.stop_at = 0, calls
    with pytest.raises(Interrupted):
        alignpro.run(run, tmp_path / "stopped")
    again = alignpro.run(None, tmp_path / "stopped", resume=True)
    assert looked(tmp_path / "stopped") == rows
    assert weights(tmp_path / "stopped" / "prompter") == weights(tmp_path / "whole" / "prompter")
    assert again == whole


def test_the_oracle_is_watched_too_and_resumes(workshop, spy, tmp_path):
    more = ("reward.model=python:rewards:spy", *FAST, *ORACLE, "rlhf.take=best", "rlhf.patience=3")
    run = settings(workshop, *more)
    whole = fine_tune(run, tmp_path / "whole")
    rows = looked(tmp_path / "whole" / "rlhf")
    assert rows[0]["step"] == 0
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert any(row["kl"] > 1e-3 for row in rows)
    held = {x.text for x in prompts_of(run.data, run.split_seed).test}
    assert not {row["prompt"] for row in read_jsonl(tmp_path / "whole" / "rlhf" / "samples.jsonl")} & held
    assert "validation prompts" in (tmp_path / "whole" / "report.html").read_text()
    spy.calls, spy.stop_at = 0, 6
    with pytest.raises(Interrupted):
        fine_tune(run, tmp_path / "stopped")
    again = fine_tune(None, tmp_path / "stopped", resume=True)
    assert looked(tmp_path / "stopped" / "rlhf") == rows
    assert json.loads(json.dumps(again.figures())) == json.loads(json.dumps(whole.figures()))
