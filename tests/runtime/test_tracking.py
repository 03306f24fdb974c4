"""Trackers get every line of metrics.jsonl and the evaluation, and no fault of theirs stops a run."""

import contextlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
from cli import settings

from alignpro import config
from alignpro.errors import SettingsError
from alignpro.running import checks, job
from alignpro.runtime.files import append_jsonl, keep_rows, read_jsonl
from alignpro.runtime.packages import installed
from alignpro.runtime.trackers import check, hyperparameters, tracking

FAKE = '''
"""Notes the public calls made to it; what is missing here must not be called."""
import types

calls = []

class Run:
    id, step = "run-7", 0
    info = types.SimpleNamespace(run_id="run-7")
    data = types.SimpleNamespace(params={}, metrics={})
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
    " log_metrics = note('log'); end_run = note('finish'); MlflowClient = note('client')",
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


class Server:
    """What a tracker's server has of one run, as theirs do: steps, settings, and how the run ended."""

    def __init__(self) -> None:
        self.rows, self.params, self.ended = [], {}, "RUNNING"

    def steps(self):
        return [(step, figures) for step, figures in self.rows if step is not None]


def like_wandb(server):
    """Steps below the last are ignored; a resumed run begins after the last one that the server has."""

    class Run(types.SimpleNamespace):
        id = "run-7"
        step = property(lambda self: server.steps()[-1][0] + 1 if server.rows else 0)
        summary = property(lambda self: types.SimpleNamespace(update=lambda figures: None))

        def log(self, figures, step):
            if step >= self.step:
                server.rows.append((step, figures))

        def finish(self, exit_code):
            server.ended = "FINISHED" if exit_code == 0 else "FAILED"

    return {"init": lambda **named: server.params.update(named["config"]) or Run()}


def like_trackio(server):
    """Every step is kept that is sent."""
    run = types.SimpleNamespace(
        log=lambda figures, step=None: server.rows.append((step, figures)),
        finish=lambda: setattr(server, "ended", "FINISHED"),
    )
    return {"init": lambda **named: server.params.update(named["config"]) or run}


def like_mlflow(server):
    """Another value of a parameter is refused; every step is kept that is sent."""

    def log_params(params):
        if changed := [name for name in params if server.params.get(name, params[name]) != params[name]]:
            raise RuntimeError(f"Changing param values is not allowed: {changed}")
        server.params.update(params)

    def start_run(run_id, run_name):
        server.ended = "RUNNING"
        data = types.SimpleNamespace(params=server.params, metrics=dict(server.rows[-1][1]) if server.rows else {})
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="run-7"), data=data)

    class MlflowClient:
        def get_metric_history(self, run_id, name):
            return [types.SimpleNamespace(step=step) for step, figures in server.steps() if name in figures]

    return {
        "set_experiment": lambda name: None,
        "start_run": start_run,
        "log_params": log_params,
        "log_metrics": lambda figures, step=None: server.rows.append((step, figures)),
        "end_run": lambda status: setattr(server, "ended", status),
        "MlflowClient": MlflowClient,
    }


LIKE = {"wandb": like_wandb, "trackio": like_trackio, "mlflow": like_mlflow}


@pytest.mark.parametrize(("name", "start", "option"), [("wandb", "init", "id"), ("mlflow", "start_run", "run_id")])
def test_a_resumed_run_is_the_same_one_to_the_tracker(workshop, spy, monkeypatch, tmp_path, name, start, option):
    server, ids = Server(), []
    calls = LIKE[name](server)

    def begin(**named):
        ids.append(named[option])
        return calls[start](**named)

    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**{**calls, start: begin}))
    monkeypatch.setattr(checks, "check_trackers", lambda names: None)
    run = settings(workshop, "reward.model=python:rewards:spy", f"track={name}", *SHORT)
    job.run(run, tmp_path / "run", only_train=True)
    job.run(None, tmp_path / "run", resume=True)
    assert ids == [None, "run-7"]
    assert [step for step, _ in server.steps()] == [1, 2]


def trained(track, folder, first, last, prefix="", after=0):
    """Steps as training takes them: the row to metrics.jsonl, then to the trackers."""
    for step in range(first, last + 1):
        row = {"step": step, "reward": step / 8, "kl": step * 2.0}
        append_jsonl(folder / prefix / "metrics.jsonl", [row])
        track.log(row, prefix, after)


def killed_and_resumed(folder, checkpoint, lost=lambda: None):
    """A run of 4 steps of the prompter and 4 of the oracle, killed in the oracle's third, resumed with more budget."""
    (folder / "rlhf").mkdir()
    given = config.load("lab", ["track=[]", "train.steps=4", "budget.calls=10"])

    def tracked(settings, names):
        return tracking(settings.model_copy(update={"track": names}), folder, lambda line: pytest.fail(line))

    def run(names):
        with contextlib.ExitStack() as left_open:
            first = left_open.enter_context(tracked(given, names))
            trained(first, folder, 1, 4)
            trained(first, folder, 1, 3, "rlhf/", 4)
            left_open.pop_all()  # kill -9: nothing is closed
            lost()
        keep_rows(folder / "rlhf" / "metrics.jsonl", lambda row: row["step"] <= checkpoint)
        more = given.model_copy(update={"budget": given.budget.model_copy(update={"calls": 99})})
        with tracked(more, names) as second:
            trained(second, folder, checkpoint + 1, 4, "rlhf/", 4)

    return run


def everything(folder):
    rows = {row["step"]: {k: v for k, v in row.items() if k != "step"} for row in read_jsonl(folder / "metrics.jsonl")}
    for row in read_jsonl(folder / "rlhf" / "metrics.jsonl"):
        rows[4 + row["step"]] = {f"rlhf/{k}": v for k, v in row.items() if k != "step"}
    return list(rows.items())


ENDS = [*((name, checkpoint, 0) for name in LIKE for checkpoint in (0, 1, 3)), ("wandb", 3, 2)]
"""Where the oracle is resumed, and what W&B, which sends later, had not sent."""


@pytest.mark.parametrize(("name", "checkpoint", "losing"), ENDS)
def test_a_tracker_has_what_metrics_jsonl_has_after_a_kill_and_a_resume(
    tmp_path, monkeypatch, name, checkpoint, losing
):
    server = Server()
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**LIKE[name](server)))
    run = killed_and_resumed(
        tmp_path, checkpoint, lambda: server.rows.__delitem__(slice(len(server.rows) - losing, None))
    )
    run([name])
    assert server.steps() == everything(tmp_path) and [step for step, _ in server.steps()] == [*range(1, 9)]
    assert server.ended == "FINISHED"
    assert str(server.params["budget.calls"]) == ("10" if name == "mlflow" else "99")


def test_tensorboard_has_the_lines_of_metrics_jsonl_after_a_kill(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed_and_resumed(tmp_path, 1)(["tensorboard"])
    for purging in (True, False):
        events = reader.EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=purging)
        events.Reload()
        for tag in ("reward", "kl", "rlhf/reward", "rlhf/kl"):
            told = [(event.step, event.value) for event in events.Scalars(tag)]
            assert told == [(step, figures[tag]) for step, figures in everything(tmp_path) if tag in figures]
        assert len(events.Tensors("settings/text_summary")) == 1


def test_mlflow_is_not_called_finished_where_it_fails_at_the_start(tmp_path, monkeypatch):
    server, said = Server(), []
    module = types.SimpleNamespace(**{**like_mlflow(server), "log_params": lambda params: 1 / 0})
    monkeypatch.setitem(sys.modules, "mlflow", module)
    with tracking(config.load("lab", ["track=mlflow"]), tmp_path, said.append):
        pass
    assert server.ended == "FAILED" and "mlflow failed (ZeroDivisionError" in said[0]


def test_a_folder_of_a_packages_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "no_such_tracker" / "run-1").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("no_such_tracker") is not None
    with pytest.raises(SettingsError, match="not installed"):
        check(["no_such_tracker"])
    assert installed("json") and not installed("no_such_tracker") and not installed("nowhere_at_all")
