"""Trackers get every line of metrics.jsonl and the evaluation, and no fault of theirs stops a run."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from cli import settings

from alignpro.errors import SettingsError
from alignpro.running import job
from alignpro.runtime.files import read_jsonl
from alignpro.runtime.trackers import hyperparameters

FAKE = '''
"""Notes the public calls made to it; what is missing here must not be called."""
import types

calls = []

class Run:
    id = "run-7"
    info = types.SimpleNamespace(run_id="run-7")
    summary = property(lambda self: self)

def note(name, result=None):
    def call(self_or_first=None, *words, **named):
        if name in BROKEN:
            raise RuntimeError(f"the server at https://me:hunter2@host refused {name}")
        first = () if isinstance(self_or_first, Run) or self_or_first is None else (self_or_first,)
        calls.append((name, (*first, *words), named))
        return result
    return call

BROKEN = set()
run = Run()
'''
CALLS = {
    "wandb": "init = note('init', run); Run.log = note('log'); Run.update = note('summary');"
    " Run.finish = note('finish')",
    "trackio": "init = note('init', run); Run.log = note('log'); Run.finish = note('finish')",
    "mlflow": "set_experiment = note('set_experiment'); start_run = note('init', run); log_params = note('params');"
    " log_metrics = note('log'); end_run = note('finish')",
}
SHORT = ("train.steps=2", "train.save_every=1", "evaluate.every=0", "evaluate.arms=[no_prompter,align_pro]")


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """A stand-in for a tracker's package, found as the real one would be."""

    def make(name):
        path = tmp_path / f"{name}.py"
        path.write_text(f"{FAKE}\n{CALLS[name]}\n")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


def test_each_gets_settings_steps_and_the_evaluation(workshop, spy, fake, tmp_path):
    modules = [fake(name) for name in CALLS]
    named = f"track=[{', '.join(CALLS)}]"
    run = settings(workshop, "reward.model=python:rewards:spy", named, "track_project=owls", *SHORT)
    summary = job.run(run, tmp_path / "run")
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    for module in modules:
        told_everything(module, rows, summary)


def told_everything(module, rows, summary):
    kinds = [kind for kind, _, _ in module.calls]
    assert kinds[-1] == "finish" and "init" in kinds
    sent = [(words[0], named.get("step")) for kind, words, named in module.calls if kind == "log"]
    steps = [(figures, step) for figures, step in sent if step is not None]
    assert [step for _, step in steps] == [1, 2]
    for (figures, _), row in zip(steps, rows, strict=True):
        assert figures == {k: v for k, v in row.items() if k != "step" and v is not None}
    last = [words[0] for kind, words, _ in module.calls if kind in ("summary", "log")][-1]
    assert last["align_pro/mean_reward"] == summary["arms"]["align_pro"]["mean_reward"]
    assert last["align_pro/win_rate_over_no_prompter"] == summary["win_rates"][0]["win_rate"]
    told = json.dumps([(words, named) for kind, words, named in module.calls if kind in ("init", "params")])
    assert "train.steps" in told and "train.ppo.clip_coef" in told
    assert "owls" in json.dumps([(words, named) for _, words, named in module.calls], default=str)


@pytest.mark.parametrize(("name", "option"), [("wandb", "id"), ("mlflow", "run_id")])
def test_a_resumed_run_is_the_same_one_to_the_tracker(workshop, spy, fake, tmp_path, name, option):
    module = fake(name)
    run = settings(workshop, "reward.model=python:rewards:spy", f"track={name}", *SHORT)
    job.run(run, tmp_path / "run", only_train=True)
    job.run(None, tmp_path / "run", resume=True)
    ids = [named[option] for kind, _, named in module.calls if kind == "init"]
    assert ids == [None, "run-7"]
    steps = [named.get("step") for kind, _, named in module.calls if kind == "log"]
    assert [step for step in steps if step is not None] == [1, 2]


@pytest.mark.parametrize("broken", [{"init"}, {"log", "finish"}])
def test_a_tracker_that_fails_stops_nothing_and_is_told_once(workshop, spy, fake, tmp_path, capfd, broken):
    module = fake("trackio")
    module.BROKEN |= broken
    run = settings(workshop, "reward.model=python:rewards:spy", "track=[trackio]", *SHORT)
    job.run(run, tmp_path / "run", only_train=True)
    assert (tmp_path / "run" / "prompter" / "config.json").is_file()
    told = capfd.readouterr().err
    assert told.count("trackio failed (") == 1
    assert "hunter2" not in told
    if "log" in broken:
        assert "trackio failed 3 times in all" in told  # two steps and the end


def test_a_missing_package_is_told_before_anything_is_loaded(workshop, tmp_path):
    absent = next((name for name in ("trackio", "mlflow", "wandb") if importlib.util.find_spec(name) is None), None)
    if absent is None:
        pytest.skip("every tracker is installed here")
    run = settings(workshop, "prompter.model=no-such-folder/x/y", f"track={absent}")
    with pytest.raises(SettingsError, match=rf"pip install 'alignpro\[{absent}\]'"):
        job.run(run, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_secrets_do_not_travel(workshop, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-verysecret")
    run = settings(workshop, "frozen.template=sk-verysecret {prompt}", "reward.model=https://me:pass@host/v1")
    told = str(hyperparameters(run))
    assert "verysecret" not in told and "me:pass" not in told and "[MY_API_KEY]" in told and "host/v1" in told


def test_tensorboard_reads_what_was_written(workshop, spy, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = settings(workshop, "reward.model=python:rewards:spy", "track=tensorboard", *SHORT)
    summary = job.run(run, tmp_path / "run")
    events = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    found = {event.step: event.value for event in events.Scalars("reward")}
    assert found == pytest.approx({row["step"]: row["reward"] for row in rows})
    mean = events.Scalars("align_pro/mean_reward")[-1].value
    assert mean == pytest.approx(summary["arms"]["align_pro"]["mean_reward"], rel=1e-6)
    assert Path(tmp_path / "run" / "trackers.json").is_file()
