"""Results in a notebook: a plain table with intervals, and the intervals drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from alignpro.results.estimate import Estimate

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


def shown(table: Table) -> str:
    """HTML of a table, with the first figure of each row drawn."""
    top = "".join(f"<th>{escape(head)}</th>" for head in table.heads)
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{_told(one)}</td>' for one in row)}</tr>"
        for name, row in table.rows
    )
    drawn = _intervals([(name, row[0]) for name, row in table.rows if row], table.heads[1])
    said = f"<p>{escape(table.note)}</p>" if table.note else ""
    return f"<div><p><b>{escape(table.title)}</b></p><table><tr>{top}</tr>{body}</table>{drawn}{said}</div>"


def _told(one: Estimate | None) -> str:
    if one is None or not one.defined:
        return "–"
    return f"{one.value:.3g}" + (f" [{one.lo:.3g}, {one.hi:.3g}]" if one.bounded else "")


def _intervals(rows: Sequence[tuple[str, Estimate | None]], axis: str) -> str:
    """Dots with 95% whiskers on one scale, as SVG in the colours of the page it stands in."""
    found = [(name, one) for name, one in rows if one and one.defined]
    if not found:
        return ""
    ends = [end for _, one in found for end in ((one.lo, one.hi) if one.bounded else (one.value,))]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0

    def across(value: float) -> str:
        return f"{LABEL + SCALE * (value - low) / width:.1f}"

    marks = ""
    for place, (name, one) in enumerate(found):
        y = ROW * (place + 0.5)
        marks += f'<text x="{LABEL - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
        if one.bounded:
            ends_of = f'x1="{across(one.lo)}" x2="{across(one.hi)}" y1="{y}" y2="{y}"'
            marks += f'<line {ends_of} stroke="{COLOUR}" stroke-width="2"/>'
        marks += f'<circle cx="{across(one.value)}" cy="{y}" r="4" fill="{COLOUR}"/>'
    foot = ROW * len(found) + 14
    for value, anchor in ((low, "start"), (low + width, "end")):
        marks += f'<text x="{across(value)}" y="{foot}" text-anchor="{anchor}" opacity="0.7">{value:.3g}</text>'
    size = f'width="{LABEL + SCALE + 10}" height="{foot + 6}"'
    label = f'role="img" aria-label="{escape(axis)}, 95% intervals"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label} fill="currentColor" font-size="12">{marks}</svg>'
