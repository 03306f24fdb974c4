"""What the jobs share: a folder claimed or reopened once everything is checked and loaded, and a fit that is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from alignpro import folder as files
from alignpro import threads
from alignpro.config import FitSettings, Settings
from alignpro.environment import machine, threads_of
from alignpro.errors import RunFailure, SettingsError, UsageError
from alignpro.folder import RunFolder
from alignpro.interrupt import StopRequest
from alignpro.progress import Progress
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
) -> Opened[Loaded]:
    """Check, load, and claim `out`, or reopen it where the job goes on.

    `options` are the settings without which `command` cannot run, and the short option of each. Raises UsageError,
    SettingsError, RunFolderTaken, and what `load` raises; the folder is untouched then.
    """
    progress, folder = Progress(), RunFolder(out)
    if resume:
        folder, settings = files.reopen(out, settings)
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
    if not resume:
        folder = files.claim(out, settings)
        files.write_json(folder.path / "environment.json", machine(settings, count))
    return Opened(folder, settings, loaded, progress)


def keeper(folder: RunFolder, fit: FitSettings, stop: StopRequest, progress: Progress) -> Keeper:
    """Checkpoints of a fit; on resuming, the steps after the one resumed from are taken out of its records."""

    def rewind(step: int) -> None:
        for path in (folder.metrics, curve_of(folder)):
            files.keep_rows(path, lambda row: row["step"] <= step)

    return Keeper(folder.checkpoints, fit.save_every, fit.keep_checkpoints, stop, progress.say, rewind)


def save_model(model: Any, tokenizer: Any, target: Path) -> None:
    """Write a plain Hugging Face folder, whole or not at all. Raises RunFailure."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(target)
    except Exception as error:
        raise RunFailure(f"{target} could not be written ({error}); free some space and go on with --resume") from None


def curve_of(folder: RunFolder) -> Path:
    """Held-out figures along a fit, a line each."""
    return folder.path / "curve.jsonl"


def in_bfloat16(settings: Settings, device: str) -> bool:
    """Whether a fit computes in bfloat16 on weights kept in float32: where the device can, and dtype is auto."""
    return settings.dtype == "auto" and device.startswith("cuda") and torch.cuda.is_bf16_supported()


def weights_dtype(settings: Settings) -> str:
    """What a fit keeps its weights in: float32 unless told otherwise, since small steps are lost in less."""
    return "float32" if settings.dtype == "auto" else settings.dtype


def say_dropped(say: Callable[[str], None], dropped: Counter[str], what: str) -> None:
    """A line for every reason, the commonest first."""
    for reason, count in dropped.most_common():
        say(f"{count} {what} left out: {reason}")


def _value(settings: Settings, name: str) -> object:
    section, key = name.split(".")
    return getattr(getattr(settings, section), key)
