"""An open run: what every stage works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from alignpro.config import Settings
from alignpro.running.pieces import Pieces
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.runtime.run_folder import RunFolder

Track = Callable[..., None]
"""(a step's row, prefix of its names, steps before it)."""


@dataclass(frozen=True)
class Run:
    """An open run: its folder, its pieces, and how to speak and stop."""

    folder: RunFolder
    pieces: Pieces
    progress: Progress
    stop: StopRequest

    @property
    def settings(self) -> Settings:
        return self.pieces.settings
