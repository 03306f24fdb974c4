"""Digests of files, those of large ones remembered by size and time in this user's state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignpro.errors import RunFailure
from alignpro.runtime import files, ownership

REMEMBERED = 1 << 20
"""Bytes from which a file's digest is remembered by its size and time."""
MANY = 1 << 31
"""Bytes to be read from which it is said that they are."""
MOST = 2000
"""Files whose digests are remembered."""


class Digests:
    """Digests of files; what was read is kept by `write`."""

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        self._say, self._path = say, ownership.state() / "digests.json"
        self._known: dict[str, Any] = files.read_json(self._path) or {}
        self._new = False

    def digest(self, path: Path) -> str:
        """As `files.digest`, read anew only where size or time are other than they were. Raises OSError."""
        stat, key = path.stat(), str(path.resolve())
        now = [stat.st_size, stat.st_mtime_ns]
        held = self._known.get(key)
        if isinstance(held, list) and held[:2] == now:
            return str(held[2])
        if stat.st_size >= MANY:
            self._say(f"reading {path}, {stat.st_size / 1e9:.0f} GB, once, to know it again")
        digest = files.digest(path)
        if stat.st_size >= REMEMBERED:
            self._known = {**{k: v for k, v in self._known.items() if k != key}, key: [*now, digest]}
            self._new = True
        return digest

    def write(self) -> None:
        """Keep what was read; where that cannot be written, it is read again the next time."""
        if not self._new:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.write_json(self._path, dict([*self._known.items()][-MOST:]))
        except (OSError, RunFailure):
            self._new = False
