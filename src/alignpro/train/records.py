"""The rows that a training wrote: kept with every checkpoint, wound back to it, and made anew from it when damaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alignpro.runtime import files, processes
from alignpro.train import checkpoint
from alignpro.train.checkpoint import Checkpoint

FILES = ("metrics.jsonl", "validation.jsonl", "samples.jsonl", "curve.jsonl")
"""Files of a training's folder with a row for each step or look; samples.jsonl gets those of evaluations later."""


def taken(folder: Path) -> dict[str, str]:
    """The texts of the training's files, by name."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in FILES if (folder / name).is_file()}


def rewind(folder: Path, latest: Checkpoint | None, say: Callable[[str], None]) -> None:
    """Bring the files of a training to where it goes on from: what a checkpoint holds of them, or nothing without one.

    Raises DamagedResult for a damaged line that a checkpoint of before records were kept cannot mend.
    """
    processes.by_first(lambda: _rewind(folder, latest, say))


def _rewind(folder: Path, latest: Checkpoint | None, say: Callable[[str], None]) -> None:
    if latest is not None and latest.records is None:
        for name in FILES:
            files.keep_rows(folder / name, lambda row: _of_training(row, latest.step))
        return
    records = latest.records if latest and latest.records else {}
    if latest is not None:
        _mend(folder, latest.step, records, say)
    for name in FILES:
        text = records.get(name)
        if text is None:
            (folder / name).unlink(missing_ok=True)
        elif (folder / name).read_bytes() != text.encode():
            files.write_text(folder / name, text)


def restore(folder: Path, say: Callable[[str], None]) -> None:
    """Make anew what a training's newest checkpoint knows of files that were damaged or cut since; later rows stay."""

    def mend() -> None:
        newest = checkpoint.newest_records(folder / "checkpoints")
        if newest is not None:
            _mend(folder, *newest, say)

    processes.by_first(mend)


def _mend(folder: Path, step: int, records: Mapping[str, str], say: Callable[[str], None]) -> None:
    for name, text in records.items():
        path, whole = folder / name, text.encode()
        if path.is_file() and path.read_bytes().startswith(whole):
            continue
        lost = files.keep_rows(path, lambda row: not _of_training(row, step), drop_damaged=True)
        files.write_bytes(path, whole + (path.read_bytes() if path.is_file() else b""))
        more = f"; {lost} damaged lines were left out" if lost else ""
        say(f"{path} was damaged or cut; its rows up to step {step} are made anew from the checkpoint{more}")


def _of_training(row: Mapping[str, Any], step: int) -> bool:
    """Whether the row is of a training's first `step` steps."""
    return bool(row["step"] <= step) and row.get("stage", "monitor") == "monitor"
