"""Charts of rows: an interval on each, or several beneath one caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignpro.report.drawing import DASHES, INK, WIDTH, drawing, inline, whisker
from alignpro.results import Estimate
from alignpro.results.words import spoken

ROW = 46
"""Height of a row whose label stands above what it labels, so that long names fit a phone."""
FEET = 36
"""Height of the scale below the rows."""
GROUPED = 17
"""Height of one line of a group."""
GROUP_HEAD = 30
"""Height of a group's caption."""
GROUP_FOOT = 6
SIDE = 14
"""Room left and right for the half of a scale's number that stands out."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an interval figure."""

    label: str
    estimate: Estimate
    token: str
    marker: str
    signed: bool = False


def intervals(rows: Sequence[Row], name: str, label: str, axis: str, reference: float = math.nan) -> Markup:
    """Dots with 95% whiskers, one row each, and a dashed line at `reference`."""
    with drawing(name):
        figure, axes = rows_canvas(len(rows), axis)
        for place, row in enumerate(rows):
            caption_of(axes, place, row.label, spoken(row.estimate, row.signed))
            whisker(axes, row.estimate, place, row.token, row.marker)
        if not math.isnan(reference):
            axes.axvline(reference, color=INK["muted"], linewidth=1, linestyle=DASHES, zorder=1)
        axes.margins(x=0.06)
        return inline(figure, label)


def groups(found: Sequence[tuple[str, Sequence[Row]]], name: str, label: str, axis: str) -> Markup:
    """Dots with 95% whiskers, those of one group close beneath its caption."""
    with drawing(name):
        most = max(len(rows) for _, rows in found)
        height = GROUP_HEAD + GROUPED * most + GROUP_FOOT
        figure, axes = rows_canvas(len(found), axis, row=height)
        for place, (caption, rows) in enumerate(found):
            top = place - 0.5 + GROUP_HEAD / height
            caption_of(axes, place, caption, "", lift=place - top)
            for line, row in enumerate(rows):
                whisker(axes, row.estimate, top + (line + 0.5) * GROUPED / height, row.token, row.marker)
        axes.margins(x=0.06)
        return inline(figure, label)


def rows_canvas(rows: int, axis: str, row: float = ROW) -> tuple[Figure, Axes]:
    """A figure of `rows` rows of height `row`, the first at the top, above a scale."""
    height = rows * row + FEET
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    # Nothing stands left or right of the rows, so the frame needs no layout and is the same in every figure.
    axes = figure.add_axes((SIDE / WIDTH, FEET / height, 1 - 2 * SIDE / WIDTH, 1 - FEET / height))
    axes.set_ylim(rows - 0.5, -0.62)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis)
    return figure, axes


def caption_of(axes: Axes, place: float, left: str, right: str, lift: float = 0.22) -> None:
    """A row's name at its left and figure at its right, on paper that hides the grid behind them."""
    paper = {"facecolor": INK["panel"], "edgecolor": "none", "pad": 1.0}
    for x, side, text, token in ((0, "left", left, "ink"), (1, "right", right, "muted")):
        axes.text(
            x,
            place - lift,
            text,
            transform=axes.get_yaxis_transform(),
            ha=side,
            va="bottom",
            color=INK[token],
            bbox=paper,
        )
