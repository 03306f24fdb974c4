"""Ctrl-C, SIGTERM and a terminal that goes ask a run to stop at the next safe point; a second one stops it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from alignpro.errors import Interrupted
from alignpro.runtime import processes

_BESIDE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
SIGNALS = (signal.SIGINT, *_BESIDE)
PATIENCE = 3.0
"""Seconds that a run which was told to stop at once has for it, before the next signal ends its process."""
_entered: list[StopRequest] = []
_forking = threading.local()


class StopRequest:
    """While entered, SIGINT, SIGTERM and SIGHUP set `asked` instead of breaking the work in the middle.

    Under nohup SIGHUP goes on to do nothing. The next signal raises KeyboardInterrupt, and where the work does not end
    by that within PATIENCE, one more ends the process.

    A process that is forked meanwhile, by a reward say, takes signals as it would without this. Outside the main thread
    nothing is taken over, since signals never reach it.
    """

    def __init__(self, what_happens: str) -> None:
        self.asked = False
        self._what_happens = what_happens
        self._former: dict[int, Any] = {}
        self._ending: float | None = None
        self._terminals: list[int] = []

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            _entered.append(self)
            self._terminals = [fd for fd in (1, 2) if os.isatty(fd)]
            for number in SIGNALS:
                if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN:
                    continue
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
        for fd in self._terminals:
            if not os.isatty(fd):  # it is gone, and whoever writes there would fail
                with contextlib.suppress(OSError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        if self._ending is not None:
            if time.monotonic() - self._ending > PATIENCE:
                os._exit(128 + number)
            return
        if self.asked:
            self._ending = time.monotonic()
            _say("stopping at once")
            raise KeyboardInterrupt
        self.asked = True
        _say(f"{self._what_happens}; once more to stop at once")


def _say(text: str) -> None:
    """A line of its own to standard error, past its buffer, which the signal may have come in the middle of."""
    if not processes.is_first():
        return
    try:
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode(errors="replace"))
    except (OSError, ValueError, AttributeError):  # a notebook's, or none
        with contextlib.suppress(Exception):
            print(f"\n{text}", file=sys.stderr, flush=True)  # noqa: T201


def _hold_sigterm() -> None:
    """Have it, and SIGHUP, wait while a process is forked: sent to the child at once, it would find our handler."""
    if _entered:
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _BESIDE)


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
