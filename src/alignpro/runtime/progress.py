"""Progress with an estimate of what remains: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from alignpro.runtime import processes
from alignpro.runtime.terminal import printable

Advance = Callable[[int, str], None]
"""Called with (done so far, what to show beside it)."""

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Reports long work to standard error; of several processes the first speaks."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False, quiet=not processes.is_first())

    def say(self, text: str) -> None:
        """One line, whole words, no markup."""
        self.console.print(printable(text), markup=False, soft_wrap=True)

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Advance]:
        """Watch `total` units of work; those done before the first report do not count for the estimate."""
        if self.console.is_terminal:
            yield from self._bar(name, total)
        else:
            yield from self._lines(name, total)

    def _bar(self, name: str, total: int) -> Iterator[Advance]:
        columns = (_text("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, _text("{task.fields[note]}"), console=self.console) as bars:
            task = bars.add_task(printable(name), total=total, note="")

            def advance(done: int, note: str = "") -> None:
                bars.update(task, completed=done, note=printable(note))

            yield advance

    def _lines(self, name: str, total: int) -> Iterator[Advance]:
        begun = shown = time.monotonic()
        start: int | None = None

        def advance(done: int, note: str = "") -> None:
            nonlocal shown, start
            now = time.monotonic()
            start = max(0, done - 1) if start is None else start
            if self.console.quiet or (done < total and now - shown < SECONDS_BETWEEN_LINES):
                return
            shown = now
            left = (now - begun) / max(1, done - start) * (total - done)
            rest = f", about {left:.0f} s left" if done < total else f", {now - begun:.0f} s"
            told = f"{name} {done}/{total}{rest}{'  ' + note if note else ''}"
            print(printable(told), file=sys.stderr, flush=True)  # noqa: T201

        yield advance


def _text(shown: str) -> TextColumn:
    """A column in which brackets are brackets."""
    return TextColumn(shown, markup=False)
