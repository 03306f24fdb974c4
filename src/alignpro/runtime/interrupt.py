"""Ctrl-C asks a run to stop at the next safe point; a second one stops it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

from alignpro.errors import Interrupted
from alignpro.runtime import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_entered: list[StopRequest] = []
_forking = threading.local()


class StopRequest:
    """While entered, SIGINT and SIGTERM set `asked` instead of breaking the work in the middle.

    A process that is forked meanwhile, by a reward say, takes signals as it would without this. Outside the main thread
    nothing is taken over, since signals never reach it.
    """

    def __init__(self, what_happens: str) -> None:
        self.asked = False
        self._what_happens = what_happens
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            _entered.append(self)
            for number in SIGNALS:
                self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if self in _entered:
            _entered.remove(self)

    def agreed(self) -> bool:
        """Whether any of the processes that share the run was asked to stop."""
        self.asked = processes.any_of(self.asked)
        return self.asked

    def check(self) -> None:
        """Raise Interrupted if a stop was asked for."""
        if self.agreed():
            raise Interrupted("stopped as asked")

    def give_back(self) -> None:
        """Put back the former handlers, but where another has taken their place since."""
        for number, handler in self._former.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if not processes.is_first():
            return
        print(f"\n{self._what_happens}; once more to stop at once", file=sys.stderr, flush=True)  # noqa: T201


def _hold_sigterm() -> None:
    """Have it wait while a process is forked: sent to the child at once, it would still find our handler there."""
    if _entered:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _let_sigterm() -> None:
    mask = _forking.__dict__.pop("mask", None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _as_without_us() -> None:
    """In a child that was just forked."""
    with contextlib.suppress(ValueError):  # of a thread of a subinterpreter, which has no handlers
        while _entered:
            _entered.pop().give_back()
    _let_sigterm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_let_sigterm, after_in_child=_as_without_us)
