"""Ctrl-C asks a run to stop at the next safe point; a second one stops it at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from alignpro.errors import Interrupted
from alignpro.runtime import processes


class StopRequest:
    """While entered, SIGINT and SIGTERM set `asked` instead of breaking the work in the middle."""

    def __init__(self, what_happens: str) -> None:
        self.asked = False
        self._what_happens = what_happens
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def agreed(self) -> bool:
        """Whether any of the processes that share the run was asked to stop."""
        self.asked = processes.any_of(self.asked)
        return self.asked

    def check(self) -> None:
        """Raise Interrupted if a stop was asked for."""
        if self.agreed():
            raise Interrupted("stopped as asked")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if not processes.is_first():
            return
        print(f"\n{self._what_happens}; once more to stop at once", file=sys.stderr, flush=True)  # noqa: T201
