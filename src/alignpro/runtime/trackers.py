"""Trackers beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow, trackio. One that fails never stops a run."""

from __future__ import annotations

import importlib.util
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

SECRET_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class RunToTrack:
    """What a tracker is told of a run; `known` takes the names that trackers themselves gave it."""

    folder: Path
    project: str
    settings: Mapping[str, Any]
    known: dict[str, str]

    def named(self) -> dict[str, Any]:
        """Words that wandb and trackio share."""
        return {"name": self.folder.name, "config": dict(self.settings), "resume": "allow"}


class Tracker(Protocol):
    """Where a run's figures go."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Figures of a step."""
        ...

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        """The evaluation's figures, empty where there was none, and whether the run came to its end."""
        ...


class Accelerated:
    """A tracker of accelerate's, by its `kind` there. Each is told what a run has at its end in its own way."""

    def __init__(self, kind: str, *words: Any, **options: Any) -> None:
        from accelerate import PartialState, tracking

        PartialState()  # its trackers ask it which process they are in
        self.tracker = tracking.LOGGER_TYPE_TO_CLASS[kind](*words, **options)
        self.tracker.start()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self.tracker.log(dict(figures), step=step)


class TensorBoard(Accelerated):
    """Event files in the run's own folder, under tensorboard/."""

    def __init__(self, run: RunToTrack) -> None:
        super().__init__("tensorboard", "tensorboard", run.folder)
        self._settings = dict(run.settings)
        self.tracker.log({"settings": "\n".join(f"    {name}: {value}" for name, value in run.settings.items())})

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        if summary:
            self.tracker.writer.add_hparams(self._settings, dict(summary), run_name=".")
        self.tracker.finish()


class WandB(Accelerated):
    """A run of Weights & Biases, gone on with where the run is resumed."""

    def __init__(self, run: RunToTrack) -> None:
        more = {"dir": str(run.folder), "id": run.known.get("wandb"), "save_code": False}
        super().__init__("wandb", run.project, **run.named(), **more)
        run.known["wandb"] = self.tracker.run.id

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        self.tracker.run.summary.update(dict(summary))
        self.tracker.run.finish(exit_code=0 if done else 1)


class Trackio(Accelerated):
    """A run of trackio, whose dashboard is local."""

    def __init__(self, run: RunToTrack) -> None:
        super().__init__("trackio", run.project, **run.named())

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        if summary:
            self.tracker.log(dict(summary))
        self.tracker.finish()


class MLflow:
    """A run of MLflow, where MLFLOW_TRACKING_URI says, gone on with where the run is resumed."""

    BATCH, LENGTH = 100, 500  # what its servers take at once

    def __init__(self, run: RunToTrack) -> None:
        import mlflow

        mlflow.set_experiment(run.project)
        run.known["mlflow"] = mlflow.start_run(run_id=run.known.get("mlflow"), run_name=run.folder.name).info.run_id
        items = [(name, str(value)[: self.LENGTH]) for name, value in run.settings.items()]
        for start in range(0, len(items), self.BATCH):
            mlflow.log_params(dict(items[start : start + self.BATCH]))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        import mlflow

        mlflow.log_metrics(dict(figures), step=step)

    def finish(self, summary: Mapping[str, float], done: bool) -> None:
        import mlflow

        if summary:
            mlflow.log_metrics(dict(summary))
        mlflow.end_run("FINISHED" if done else "KILLED")


KINDS: dict[str, Callable[[RunToTrack], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}


class Tracking:
    """The trackers of a run. What fails in one is counted, and told the first time."""

    def __init__(self, trackers: dict[str, Tracker], say: Callable[[str], None]) -> None:
        self._trackers, self._say = trackers, say
        self.failed: dict[str, int] = {}
        self.summary: dict[str, float] = {}

    def log(self, row: Mapping[str, Any], prefix: str = "", after: int = 0) -> None:
        """A line of metrics.jsonl, its names under `prefix`, its steps counted on from `after`."""
        figures = {prefix + k: float(v) for k, v in row.items() if k != "step" and isinstance(v, int | float)}
        for name, tracker in self._trackers.items():
            self.attempt(name, lambda tracker=tracker: tracker.log(figures, after + row["step"]))  # type: ignore[misc]

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
        if importlib.util.find_spec(name) is None:
            raise SettingsError(f"track names {name}, which is not installed; pip install 'alignpro[{name}]'")


@contextmanager
def tracking(settings: Settings, folder: Path, say: Callable[[str], None]) -> Iterator[Tracking]:
    """The trackers of the settings for as long as a run takes; of several processes the first tracks."""
    path = folder / "trackers.json"
    run = RunToTrack(folder, settings.track_project, hyperparameters(settings), dict(files.read_json(path) or {}))
    trackers: dict[str, Tracker] = {}
    tracked = Tracking(trackers, say)
    for name in settings.track if processes.is_first() else ():
        tracked.attempt(name, lambda name=name: trackers.update({name: KINDS[name](run)}))  # type: ignore[misc]
    if settings.track:
        files.write_json(path, run.known)
    done = False
    try:
        yield tracked
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
