"""What a user must know of a run beside its figures: said once while it goes on, kept for its report."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from alignpro.runtime import files

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
