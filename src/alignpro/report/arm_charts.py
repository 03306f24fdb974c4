"""The figures that compare arms: intervals, distributions, variances, wins. Each function returns one SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignpro.report.drawing import DASHES, INK, WIDTH, dot, drawing, inline, whisker
from alignpro.report.estimate import number, percent, spoken
from alignpro.report.palette import Looks
from alignpro.results import Arm, Estimate, WinRate
from alignpro.types import FloatArray

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
CURVE_POINTS = 160
BINS = 2048
NARROWEST_LABEL = 0.08
"""Share of the width below which a bar is too short for its number."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of an interval figure."""

    label: str
    estimate: Estimate
    token: str
    marker: str
    signed: bool = False


def intervals(rows: Sequence[Row], name: str, label: str, axis: str, reference: float = math.nan) -> str:
    """Dots with 95% whiskers, one row each, and a dashed line at `reference`."""
    with drawing(name):
        figure, axes = _rows_canvas(len(rows), axis)
        for place, row in enumerate(rows):
            _caption(axes, place, row.label, spoken(row.estimate, row.signed))
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
        figure, axes = _rows_canvas(len(found), axis, row=height)
        for place, (caption, rows) in enumerate(found):
            top = place - 0.5 + GROUP_HEAD / height
            _caption(axes, place, caption, "", lift=place - top)
            for line, row in enumerate(rows):
                whisker(axes, row.estimate, top + (line + 0.5) * GROUPED / height, row.token, row.marker)
        axes.margins(x=0.06)
        return inline(figure, label)


def wins(win_rates: Sequence[WinRate], looks: Looks, name: str) -> str:
    """Win, tie and loss shares as bars in the two arms' colours, the win rate's interval beneath each."""
    with drawing(name):
        figure, axes = _rows_canvas(len(win_rates), "share of comparisons, %", row=68)
        axes.grid(False)
        axes.axvline(50, color=INK["muted"], linewidth=1, linestyle=DASHES, zorder=0)
        for place, wr in enumerate(win_rates):
            a, b = looks[wr.a], looks[wr.b]
            _caption(axes, place, f"{a.label} against {b.label}", percent(wr.rate), lift=0.27)
            left = 0.0
            for share, token in zip(wr.shares, (a.token, "line", b.token), strict=True):
                if share.value > 0:
                    _bar_piece(axes, place, left, share.value, token)
                    left += 100 * share.value
            whisker(axes, wr.rate.scaled(100), place + 0.28, "ink", "d")
        axes.set_xlim(-0.5, 100.5)
        axes.set_xticks([0, 25, 50, 75, 100])
        return inline(figure, "Share of comparisons won, tied and lost, with the win rate and its 95% interval")


def _bar_piece(axes: Axes, place: float, left: float, share: float, token: str) -> None:
    width = 100 * share
    axes.barh(place, width, 0.32, left, color=INK[token], edgecolor=INK["panel"], linewidth=1.5)
    if share >= NARROWEST_LABEL:
        colour = INK["ink" if token == "line" else "panel"]
        centre = left + width / 2
        axes.text(centre, place, number(width, 0), color=colour, ha="center", va="center_baseline")


def distributions(rewards: Mapping[str, FloatArray], looks: Looks, name: str) -> str:
    """Smoothed density of the rewards of each arm, with its middle half and median."""
    with drawing(name):
        figure, axes = _rows_canvas(len(rewards), "reward", row=68)
        pooled = np.concatenate(list(rewards.values()))
        margin = 0.06 * (np.ptp(pooled) or 1.0)
        points = np.linspace(pooled.min() - margin, pooled.max() + margin, CURVE_POINTS)
        hills = {arm: density(values, points) for arm, values in rewards.items()}
        highest = max(hill.max() for hill in hills.values())
        for place, (arm, values) in enumerate(rewards.items()):
            look, floor = looks[arm], place + 0.36
            colour, top = INK[look.token], floor - 0.6 * hills[arm] / highest
            quarter, median, three_quarters = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
            _caption(axes, place, look.label, f"median {number(median)}", lift=0.25)
            axes.fill_between(points, top, floor, color=colour, alpha=0.22, linewidth=0)
            axes.plot(points, top, color=colour, linewidth=1.6)
            axes.plot([quarter, three_quarters], [floor, floor], color=colour, linewidth=3.5)
            dot(axes, median, floor, look.token, look.marker)
        axes.set_xlim(points[0], points[-1])
        return inline(figure, "Distribution of the rewards of single answers, by arm")


def density(values: FloatArray, points: FloatArray) -> FloatArray:
    """Gaussian kernel density of `values` at `points`.

    Silverman's bandwidth, 0.9 min(sd, IQR / 1.34) n^(-1/5), but never finer than the distance between points:
    rewards may be equal or lie on a few values.
    """
    quarter, three_quarters = np.quantile(values, [0.25, 0.75])
    scales = [scale for scale in (float(np.std(values)), float(three_quarters - quarter) / 1.34) if scale > 0]
    bandwidth = max(0.9 * min(scales, default=0.0) * len(values) ** -0.2, float(points[1] - points[0]))
    # Bins far finer than the bandwidth bound the memory, however many answers a run holds.
    counts, edges = np.histogram(values, BINS, (float(points[0]), float(points[-1])))
    kernels = np.exp(-0.5 * ((points[:, None] - (edges[:-1] + edges[1:]) / 2) / bandwidth) ** 2)
    hill: FloatArray = kernels @ counts / (len(values) * bandwidth * math.sqrt(2 * math.pi))
    return hill


def variances(arms: Sequence[Arm], looks: Looks, name: str) -> str:
    """Variance of the reward of each arm, split into its part between and its part within prompts."""
    with drawing(name):
        figure, axes = _rows_canvas(len(arms), "variance of the reward")
        for place, arm in enumerate(arms):
            look, between, within = looks[arm.name], arm.variance_between.value, arm.variance_within.value
            _caption(axes, place, look.label, f"{number(between)} + {number(within)}")
            # An estimate of the part between prompts may come out below zero; a bar has no such length.
            solid, pale = max(between, 0.0), max(within, 0.0)
            axes.barh(place + 0.1, solid, 0.3, color=INK[look.token], linewidth=0)
            axes.barh(place + 0.1, pale, 0.3, solid, color=INK[look.token], alpha=0.4, linewidth=0)
            if arm.variance.bounded:
                axes.plot([arm.variance.lo, arm.variance.hi], [place + 0.1] * 2, color=INK["ink"], linewidth=1.2)
        axes.set_xlim(left=0)
        return inline(figure, "Variance of the reward between prompts and within a prompt, by arm")


def _rows_canvas(rows: int, axis: str, row: float = ROW) -> tuple[Figure, Axes]:
    height = rows * row + FEET
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    # Nothing stands left or right of the rows, so the frame needs no layout and is the same in every figure.
    axes = figure.add_axes((SIDE / WIDTH, FEET / height, 1 - 2 * SIDE / WIDTH, 1 - FEET / height))
    axes.set_ylim(rows - 0.5, -0.62)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis)
    return figure, axes


def _caption(axes: Axes, place: float, left: str, right: str, lift: float = 0.22) -> None:
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
