"""What a user must know of a run beside its figures: said once while it goes on, kept for its report."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from alignpro.runtime import files, processes

FILE = "notices.jsonl"


class Notices:
    """The notices of a folder, one for each `kind`; those of steps after `step` are forgotten, which come again."""

    def __init__(self, folder: Path, say: Callable[[str], None], step: float = math.inf) -> None:
        self._path, self._say = folder / FILE, say
        files.keep_rows(self._path, lambda row: row["step"] <= step)
        self._told = {row["about"] for row in files.read_jsonl(self._path)}

    def tell(self, kind: str, text: str, step: int = 0) -> None:
        """Say and keep `text`, unless one of its kind was told before."""
        if kind in self._told:
            return
        self._told.add(kind)
        self._say(f"note: {text}")
        files.append_jsonl(self._path, [{"step": step, "about": kind, "text": text}])


class Asides:
    """Notices of no step, told from any thread of one process, also before there is a folder to keep them in."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._path: Path | None = None
        self._told: dict[str, str] = {}
        self._lock = threading.Lock()

    def keep(self, folder: Path) -> None:
        """Write what was told, and what will be, to the folder's notices, but for what stands there."""
        with self._lock:
            self._path = folder / FILE
            there = {row["about"] for row in files.read_jsonl(self._path)}
            self._write({kind: text for kind, text in self._told.items() if kind not in there})
            self._told |= dict.fromkeys(there, "")

    def tell(self, kind: str, text: str) -> None:
        """Say and keep `text`, unless one of its kind was told before."""
        with self._lock:
            if kind in self._told:
                return
            self._told[kind] = text
            self._say(f"note: {text}")
            self._write({kind: text})

    def _write(self, notices: Mapping[str, str]) -> None:
        if self._path is not None and notices and processes.is_first():
            rows = [{"step": 0, "about": kind, "text": text} for kind, text in notices.items()]
            files.append_alone(self._path, rows)
