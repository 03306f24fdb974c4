"""Results in a notebook: a plain table with intervals, and the intervals drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignpro.results.estimate import Estimate
from alignpro.results.words import NOTHING, form_for, number, told
from alignpro.runtime.templating import environment

LABEL, SCALE, ROW = 190, 260, 24
"""Units across for the names and for the scale, and down for a row."""
COLOUR = "#0a63be"

Row = tuple[str, Sequence[Estimate | None]]
"""A name and its figures; the first is drawn."""


@dataclass(frozen=True, slots=True)
class Table:
    """What stands above, a head for the names and one for each figure, rows, and a note beneath."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the figure of a row is drawn, in units across and down; `ends` are those of its interval."""

    name: str
    y: float
    x: str
    ends: tuple[str, str] | None


def shown(table: Table) -> str:
    """HTML of a table, with the first figure of each row drawn."""
    firsts = [(name, row[0]) for name, row in table.rows if row]
    found = [(name, one) for name, one in firsts if one and one.defined]
    ends = [end for _, one in found for end in ((one.lo, one.hi) if one.bounded else (one.value,))]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    width = (high - low) or 1.0

    def across(value: float) -> str:
        return f"{LABEL + SCALE * (value - low) / width:.1f}"

    marks = [
        Mark(name, ROW * (place + 0.5), across(one.value), (across(one.lo), across(one.hi)) if one.bounded else None)
        for place, (name, one) in enumerate(found)
    ]
    scale = [
        (across(end), anchor, number(end, form_for(max(abs(low), abs(high)), width)))
        for end, anchor in ((low, "start"), (low + width, "end"))
    ]
    page = environment("alignpro.results").get_template("notebook.html")
    return page.render(
        table=table,
        told=lambda one: told(one, NOTHING),
        marks=marks,
        scale=scale,
        foot=ROW * len(found) + 14,
        width=LABEL + SCALE + 10,
        label=LABEL,
        colour=COLOUR,
    )
