"""Trackers beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow, trackio. One that fails never stops a run."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from alignpro import config
from alignpro.config import Settings
from alignpro.errors import SettingsError
from alignpro.runtime import files, processes
from alignpro.runtime.packages import installed

SECRET_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
SHORTEST_SECRET = 8
FILE = "trackers.json"
ORACLE = "rlhf/"
"""Before the oracle's figures, and the folder of its metrics."""


@dataclass(frozen=True, slots=True)
class RunToTrack:
    """What a tracker is told of a run; `known` takes the names that trackers themselves gave it, and what else they
    want to find again."""

    folder: Path
    project: str
    settings: Mapping[str, Any]
    known: dict[str, str]

    def note(self, name: str, value: str) -> None:
        """Keep something in trackers.json from now on, by the one process that tracks."""
        self.known[name] = value
        path = self.folder / FILE
        partial = path.with_name(f".{FILE}.partial")
        partial.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)

    def named(self) -> dict[str, Any]:
        """Words that wandb and trackio share."""
        return {"name": self.folder.name, "config": dict(self.settings), "resume": "allow"}


class Tracker(Protocol):
    """Where a run's figures go. `held` is the last step that it has from before the run was resumed."""

    held: int

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Figures of a step."""
        ...

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        """The evaluation's figures, empty where there was none, and whether the run came to its end."""
        ...


class Accelerated:
    """A tracker of accelerate's, by its `kind` there. Each is told what a run has at its end in its own way."""

    held = 0

    def __init__(self, kind: str, *words: Any, **options: Any) -> None:
        from accelerate import PartialState, tracking

        PartialState()  # its trackers ask it which process they are in
        self.tracker = tracking.LOGGER_TYPE_TO_CLASS[kind](*words, **options)
        self.tracker.start()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.tracker.log(dict(figures), step=step)


class TensorBoard(Accelerated):
    """Event files in the run's own folder, under tensorboard/; made anew when the run is resumed, since steps that came
    after its checkpoint come again. Whoever reads along is told to forget what was there."""

    def __init__(self, run: RunToTrack) -> None:
        for former in (run.folder / "tensorboard").glob("events.out.tfevents.*"):
            former.unlink()
        super().__init__("tensorboard", "tensorboard", run.folder, purge_step=0)
        self._settings = dict(run.settings)
        self.tracker.log({"settings": "\n".join(f"    {name}: {value}" for name, value in run.settings.items())})

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        if summary:
            self.tracker.writer.add_hparams(self._settings, dict(summary), run_name=".")
        self.tracker.finish()


class WandB(Accelerated):
    """A run of Weights & Biases, gone on with where the run is resumed, after the last step that its server has."""

    def __init__(self, run: RunToTrack) -> None:
        more = {"dir": str(run.folder), "id": run.known.get("wandb"), "save_code": False}
        super().__init__("wandb", run.project, **run.named(), **more)
        run.note("wandb", self.tracker.run.id)
        self.held = max(0, self.tracker.run.step - 1)

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        self.tracker.run.summary.update(dict(summary))
        self.tracker.run.finish(exit_code=0 if done else 1)


class Trackio(Accelerated):
    """A run of trackio, whose dashboard is local. It does not tell what it has, so that is noted here."""

    def __init__(self, run: RunToTrack) -> None:
        super().__init__("trackio", run.project, **run.named())
        self._run, self.held = run, int(run.known.get("trackio", 0))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        super().log(figures, step)
        self._run.note("trackio", str(step))

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        if summary:
            self.tracker.log(dict(summary))
        self.tracker.finish()


class MLflow:
    """A run of MLflow, where MLFLOW_TRACKING_URI says, gone on with where the run is resumed.

    Settings are sent once, since MLflow takes no other value of one that it has.
    """

    BATCH, LENGTH = 100, 500  # what its servers take at once

    def __init__(self, run: RunToTrack) -> None:
        import mlflow

        mlflow.set_experiment(run.project)
        known = run.known.get("mlflow")
        data = (started := mlflow.start_run(run_id=known, run_name=run.folder.name)).data
        try:
            run.note("mlflow", started.info.run_id)
            self.held = self._last(started.info.run_id, data.metrics) if known else 0
            items = [(name, str(value)[: self.LENGTH]) for name, value in run.settings.items()]
            items = [(name, value) for name, value in items if name not in data.params]
            for start in range(0, len(items), self.BATCH):
                mlflow.log_params(dict(items[start : start + self.BATCH]))
        except BaseException:
            mlflow.end_run("FAILED")  # or it would be called finished as the process ends
            raise

    def log(self, figures: Mapping[str, float], step: int) -> None:
        import mlflow

        mlflow.log_metrics(dict(figures), step=step)

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        import mlflow

        try:
            if summary:
                mlflow.log_metrics(dict(summary))
        finally:
            mlflow.end_run("FINISHED" if done else "KILLED")

    @staticmethod
    def _last(run_id: str, metrics: Mapping[str, float]) -> int:
        """The last step that its server has: each step's line holds `reward`."""
        import mlflow

        client = mlflow.MlflowClient()
        named = [name for name in ("reward", f"{ORACLE}reward") if name in metrics]
        return max((point.step for name in named for point in client.get_metric_history(run_id, name)), default=0)


KINDS: dict[str, Callable[[RunToTrack], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}


class Tracking:
    """The trackers of a run in `folder`. What fails in one is counted, and told the first time.

    Each gets every line of metrics.jsonl once: before the first of this process those that it lacks, and none that it
    holds from before a crash, whose steps the resumed run repeats.
    """

    def __init__(self, trackers: dict[str, Tracker], folder: Path, say: Callable[[str], None]) -> None:
        self._trackers, self._folder, self._say = trackers, folder, say
        self._caught_up: set[str] = set()
        self.failed: dict[str, int] = {}
        self.summary: dict[str, float] = {}

    def log(self, row: Mapping[str, Any], prefix: str = "", after: int = 0) -> None:
        """A line of metrics.jsonl, its names under `prefix`, its steps counted on from `after`."""
        self.catch_up(prefix, after, row["step"])
        self._send(row, prefix, after)

    def catch_up(self, prefix: str = "", after: int = 0, until: float = math.inf) -> None:
        """Send what the file of `prefix` has of steps before `until`, once."""
        if prefix not in self._caught_up and self._trackers:
            self._caught_up.add(prefix)
            for row in files.read_jsonl(self._folder / prefix / "metrics.jsonl"):
                if row["step"] < until:
                    self._send(row, prefix, after)

    def _send(self, row: Mapping[str, Any], prefix: str, after: int) -> None:
        figures = {prefix + k: float(v) for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        step = after + row["step"]
        for name, tracker in self._trackers.items():
            if step > tracker.held:
                self.attempt(name, lambda tracker=tracker: tracker.log(figures, step))  # type: ignore[misc]

    def finish(self, done: bool) -> None:
        """Close every tracker, whatever came of the run."""
        for name, tracker in self._trackers.items():
            self.attempt(name, lambda tracker=tracker: tracker.finish(self.summary, done))  # type: ignore[misc]
        for name, count in self.failed.items():
            if count > 1:
                self._say(f"{name} failed {count} times in all; metrics.jsonl has every line")

    def attempt(self, name: str, work: Callable[[], None]) -> None:
        """Do it; a failure is counted and stops nothing."""
        try:
            work()
        except Exception as error:
            self.failed[name] = self.failed.get(name, 0) + 1
            if self.failed[name] == 1:
                cause = _without_secrets(" ".join(str(error).split())[:200])
                self._say(f"{name} failed ({type(error).__name__}: {cause}); the run goes on without it where it must")


def check(names: Sequence[str]) -> None:
    """Raise SettingsError where the package of a tracker is not there, naming the extra that installs it."""
    for name in names:
        if not installed(name):
            raise SettingsError(f"track names {name}, which is not installed; pip install 'alignpro[{name}]'")


@contextmanager
def tracking(settings: Settings, folder: Path, say: Callable[[str], None]) -> Iterator[Tracking]:
    """The trackers of the settings for as long as a run takes; of several processes the first tracks."""
    known = dict(files.read_json(folder / FILE) or {})
    run = RunToTrack(folder, settings.track_project, hyperparameters(settings), known)
    trackers: dict[str, Tracker] = {}
    tracked = Tracking(trackers, folder, say)
    if settings.track:
        files.write_json(folder / FILE, known)
    for name in settings.track if processes.is_first() else ():
        tracked.attempt(name, lambda name=name: trackers.update({name: KINDS[name](run)}))  # type: ignore[misc]
    done = False
    try:
        yield tracked
        tracked.catch_up()  # of what was trained before this process
        tracked.catch_up(ORACLE, settings.train.steps)
        done = True
    finally:
        tracked.finish(done)


def hyperparameters(settings: Settings) -> dict[str, Any]:
    """The resolved settings by dotted name, without secrets."""
    flat = config.flat(settings.model_dump(mode="json"))
    return {name: _plain(value) for name, value in flat.items()}


def _plain(value: Any) -> Any:
    """A number, or text without secrets."""
    return value if isinstance(value, bool | int | float) else _without_secrets(str(value))


def _without_secrets(text: str) -> str:
    for name, secret in os.environ.items():
        if SECRET_NAMES.search(name) and len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, f"[{name}]")
    return re.sub(r"://[^/@\s]+@", "://[credentials]@", text)
