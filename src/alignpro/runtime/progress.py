"""Progress with an estimate of what remains: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from alignpro.runtime import processes
from alignpro.runtime.terminal import printable

TEXTS = "texts"
"""What the sampler tells of."""
Show = Callable[[int, str, float | None], None]
"""Called with (done so far, what to show beside it, seconds left or None where nothing tells)."""
_under_way: list[_Task] = []

Advance = Callable[[int, str], None]
"""Called with (done so far, what to show beside it)."""

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0
MANY, AT_A_TIME = 50_000, 1_000


class Progress:
    """Reports long work to standard error; of several processes the first speaks."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, emoji=False, quiet=not processes.is_first())

    def say(self, text: str) -> None:
        """One line, whole words, no markup."""
        self.console.print(printable(text), markup=False, soft_wrap=True)

    @contextmanager
    def task(
        self, name: str, total: int, done: int | None = None, sizes: Sequence[int] | None = None
    ) -> Iterator[Advance]:
        """Watch `total` units of work, of which so many were `done` before it begins and do not count for the estimate;
        None: as the first report tells, or one unit less. `sizes` are those of the units, where they are unlike."""
        with self._bar(name, total, done or 0) if self.console.is_terminal else self._lines(name, total) as show:
            before = 0 if done is None else done
            task = _Task(total, show, sizes, done=before, first=before, start=done)
            _under_way.append(task)
            try:
                yield task
            finally:
                _under_way.remove(task)

    @contextmanager
    def _bar(self, name: str, total: int, done: int) -> Iterator[Show]:
        columns = (_text("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, _text("{task.fields[note]}"), console=self.console) as bars:
            task = bars.add_task(printable(name), total=total, completed=done, note="")

            def advance(done: int, note: str, left: float | None) -> None:
                about = f"  about {left:.0f} s left" if left and not done else ""  # the bar itself tells it of units
                bars.update(task, completed=done, note=printable(f"{note}{about}"))

            yield advance

    @contextmanager
    def _lines(self, name: str, total: int) -> Iterator[Show]:
        begun = shown = time.monotonic()
        ended = False

        def advance(done: int, note: str, left: float | None) -> None:
            nonlocal shown, ended
            now = time.monotonic()
            ends, ended = done >= total and not ended, done >= total
            if self.console.quiet or (not ends and now - shown < SECONDS_BETWEEN_LINES):
                return
            shown = now
            about = "" if left is None else f", about {left:.0f} s left"
            rest = about if done < total else f", {now - begun:.0f} s"
            told = f"{name} {done}/{total}{rest}{'  ' + note if note else ''}"
            print(printable(told), file=sys.stderr, flush=True)  # noqa: T201

        yield advance


def watched(items: Iterable[T], name: str, total: int | None = None) -> Iterator[T]:
    """The items, with progress where there are many; `total` is about how many, where they do not say so themselves."""
    total = total if total is not None else len(items) if isinstance(items, Sized) else 0
    if total < MANY:
        yield from items
        return
    with Progress().task(name, total) as advance:
        for done, item in enumerate(items):
            if done % AT_A_TIME == 0:
                advance(min(done, total - 1), "")
            yield item
        advance(total, "")


def _text(shown: str) -> TextColumn:
    """A column in which brackets are brackets."""
    return TextColumn(shown, markup=False)


def tell(done: int, total: int, what: str) -> None:
    """Of the work within a unit of the task under way, `done` of a call's `total`: told by the batch, from wherever it
    is done. Nothing where no task is watched."""
    if _under_way:
        _under_way[-1].within(done, total, what)


def expect(units: int, texts: int) -> None:
    """The next units of the task under way take about so many texts, of which `tell` will tell, and which then count in
    the estimate of what remains."""
    if _under_way:
        _under_way[-1].expect(units, texts)


@dataclasses.dataclass(eq=False)
class _Task:
    """A task that is watched. `show` is given what is done, a note, and the seconds left, None where nothing tells."""

    total: int
    show: Callable[[int, str, float | None], None]
    sizes: Sequence[int] | None
    begun: float = dataclasses.field(default_factory=lambda: time.monotonic())
    done: int = 0
    note: str = ""
    start: int | None = None
    first: int = 0
    ended: float = 0.0
    planned: tuple[int, int] = (0, 0)
    made: int = 0
    last: tuple[int, int] = (0, 0)

    def __call__(self, done: int, note: str = "") -> None:
        if self.start is None:
            self.start, self.first = max(0, done - 1), done
        self.done, self.note, self.ended = done, note, time.monotonic()
        self.expect(0, 0)
        self.show(done, note, self._left(self._size(self.start, max(done, self.start + 1)) or 1))

    def expect(self, units: int, texts: int) -> None:
        self.planned, self.made, self.last = (units, texts), 0, (0, 0)

    def within(self, done: int, total: int, what: str) -> None:
        went_on = self.last[1] == total and done >= self.last[0]  # the end of a batch is told again
        self.made += (done - self.last[0] if went_on else done) if what == TEXTS else 0
        self.last = done, total
        units, texts = self.planned
        part = self._size(self.done, self.done + units) * min(0.99, self.made / texts) if texts else 0.0
        since = self._size(self.first, self.done) + part
        told = "; ".join(filter(None, (self.note, f"{what} {done:,}/{total:,}")))
        self.show(self.done, told, self._left(since, part) if since else None)

    def _size(self, start: int, end: int) -> int:
        return min(end, self.total) - min(start, self.total) if self.sizes is None else sum(self.sizes[start:end])

    def _left(self, since: float, part: float = 0.0) -> float | None:
        """Seconds for what remains, at the pace of what was done since the start; of the unit under way a part is done,
        or, where none is known, so much as the time since the last one tells."""
        now, left = time.monotonic(), self._size(self.done, self.total)
        if part:
            return (now - self.begun) / since * (left - part)
        own = (self.ended - self.begun) / since * self._size(self.done, self.done + 1)
        rest = (self.ended - self.begun) / since * self._size(self.done + 1, self.total)
        return rest + own - min(own, now - self.ended) if rest or now - self.ended <= own else None
