"""What the jobs share: a folder claimed or reopened once everything is checked and loaded, and a fit that is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from alignpro.config import FitSettings, Settings
from alignpro.errors import SettingsError, UsageError
from alignpro.models.checkpointing import checkpointable, checkpointed
from alignpro.models.lora import adapted
from alignpro.rng import derive
from alignpro.running.machine import machine, threads_of
from alignpro.runtime import files as files
from alignpro.runtime import run_folder, threads
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.runtime.run_folder import RunFolder
from alignpro.train.policy import check_trainable
from alignpro.train.supervised import Keeper

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Opened(Generic[Loaded]):
    """A job's folder, its settings, what it works on, and how it speaks."""

    folder: RunFolder
    settings: Settings
    loaded: Loaded
    progress: Progress


def open_job(
    settings: Settings | None,
    out: Path,
    resume: bool,
    command: str,
    options: Mapping[str, str],
    load: Callable[[Settings, Callable[[str], None]], Loaded],
    resolved: Callable[[Settings, Loaded], Settings] = lambda settings, loaded: settings,
) -> Opened[Loaded]:
    """Check, load, and claim `out`, or reopen it where the job goes on.

    `options` are the settings without which `command` cannot run, and the short option of each; `resolved` are
    the settings as they were taken. Raises UsageError,
    SettingsError, RunFolderTaken, and what `load` raises; the folder is untouched then.
    """
    progress, folder = Progress(), RunFolder(out)
    if resume:
        folder, settings = run_folder.reopen(out, settings)
    assert settings is not None
    missing = [name for name in options if not _value(settings, name)]
    if missing and resume:
        raise UsageError(
            f"--out {out}: the folder is not one of `alignpro {command}`: {', '.join(missing)} not set in it"
        )
    if missing:
        raise SettingsError(f"{', '.join(missing)} not set; give {' '.join(options[name] for name in missing)}")
    count = threads.use(threads_of(settings, folder, resume))
    loaded = load(settings, progress.say)
    settings = resolved(settings, loaded)
    if not resume:
        folder = run_folder.claim(out, settings)
        files.write_json(folder.path / "environment.json", machine(settings, count))
    return Opened(folder, settings, loaded, progress)


def keeper(folder: RunFolder, fit: FitSettings, stop: StopRequest, progress: Progress) -> Keeper:
    """Checkpoints of a fit; on resuming, the steps after the one resumed from are taken out of its records."""

    def rewind(step: int) -> None:
        for path in (folder.metrics, curve_of(folder)):
            files.keep_rows(path, lambda row: row["step"] <= step)

    return Keeper(folder.checkpoints, fit.save_every, fit.keep_checkpoints, stop, progress.say, rewind)


def check_fit(model: Any, fit: FitSettings, section: str) -> None:
    """Raise SettingsError for weights that cannot be trained as the section says."""
    check_trainable(model, fit.lora, f"{section}.lora")
    if fit.gradient_checkpointing:
        checkpointable(model)


@contextmanager
def fitted(model: Any, fit: FitSettings, section: str, seed: int, whole: Sequence[str] | None = None) -> Iterator[Any]:
    """The model with every weight to be trained, or with an adapter that alone is; see `adapted` for `whole`.

    An adapter is taken off again at the end, and the model is as it was. Dropout draws from `seed` on.
    """
    torch.manual_seed(derive(seed, "dropout"))
    if fit.lora is None:
        model.requires_grad_(True)
        with checkpointed(model, fit.gradient_checkpointing):
            yield model
        return
    with (
        adapted(model, fit.lora, f"{section}.lora", derive(seed, "lora"), whole) as policy,
        checkpointed(policy, fit.gradient_checkpointing),
    ):
        yield policy


def curve_of(folder: RunFolder) -> Path:
    """Held-out figures along a fit, a line each."""
    return folder.path / "curve.jsonl"


def say_dropped(say: Callable[[str], None], dropped: Counter[str], what: str) -> None:
    """A line for every reason, the commonest first."""
    for reason, count in dropped.most_common():
        say(f"{count} {what} left out: {reason}")


def _value(settings: Settings, name: str) -> object:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)
