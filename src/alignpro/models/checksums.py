"""Checksums of a model's folder as it was saved, so that weights or a tokenizer that changed since are not loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alignpro.runtime import files

FILE = "checksums.json"
_known: dict[Path, tuple[tuple[str, int, int], ...]] = {}
"""Folders that were whole, by the sizes and times of their files then."""


def seal(folder: Path) -> None:
    """Write the checksum of every file that a model is loaded from; words about it may change. Raises RunFailure."""
    sums = {str(path.relative_to(folder).as_posix()): files.digest(path) for path in _files(folder)}
    files.write_json(folder / FILE, {"blake2b": sums})


def fault(folder: Path, digest: Callable[[Path], str] = files.digest) -> str | None:
    """Which file is not as it was saved, and how; None where all are, or where nothing says how they were. `digest`
    may remember what it read."""
    if not (folder / FILE).is_file():
        return None
    seen = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (*_files(folder), folder / FILE))
    if _known.get(folder) == seen:
        return None
    sums = (files.read_json(folder / FILE) or {}).get("blake2b")
    if not isinstance(sums, dict) or not sums:
        return f"{FILE} is damaged"
    for name, saved in sums.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if digest(path) != saved:
            return f"{name} is damaged: its contents do not match their checksum"
    _known[folder] = seen
    return None


def _files(folder: Path) -> list[Path]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in paths if path.suffix != ".md" and path != folder / FILE)
