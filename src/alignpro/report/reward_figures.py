"""The figures of a learned reward: its learning curve and its reliability. Each function returns one SVG."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, NullFormatter

from alignpro.report.drawing import DASHES, INK, canvas, dot, drawing, inline
from alignpro.report.estimate import count
from alignpro.results import Estimate

TOKEN, MARKER = "align-pro", "D"


def learning_curve(points: Sequence[tuple[float, Estimate]], longer: Estimate, name: str) -> str:
    """Held-out accuracy in percent against training pairs, on a scale of doublings; `longer` is a dashed level."""
    with drawing(name):
        figure, axes = canvas(300)
        shown = [(pairs, value.scaled(100)) for pairs, value in points]
        axes.plot([pairs for pairs, _ in shown], [value.value for _, value in shown], color=INK[TOKEN], linewidth=1.6)
        for pairs, value in shown:
            if value.bounded:
                axes.plot([pairs, pairs], [value.lo, value.hi], color=INK[TOKEN], linewidth=2.5, alpha=0.6)
            dot(axes, pairs, value.value, TOKEN, MARKER)
        if longer.defined:
            axes.axhline(100 * longer.value, color=INK["muted"], linewidth=1.2, linestyle=DASHES)
        axes.set_xscale("log", base=2)
        axes.set_xticks([pairs for pairs, _ in shown])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.08)
        axes.set_xlabel("training pairs")
        axes.set_ylabel("held-out accuracy, %")
        return inline(figure, "Held-out accuracy against the number of training pairs")


def reliability(points: Sequence[tuple[float, Estimate]], name: str) -> str:
    """Share preferred against the model's probability, both in percent, with the line where they are equal."""
    with drawing(name):
        figure, axes = canvas(300)
        axes.plot([50, 100], [50, 100], color=INK["muted"], linewidth=1.2, linestyle=DASHES)
        for at, value in points:
            told = value.scaled(100)
            if told.bounded:
                axes.plot([100 * at, 100 * at], [told.lo, told.hi], color=INK[TOKEN], linewidth=2.5, alpha=0.6)
            if told.defined:
                dot(axes, 100 * at, told.value, TOKEN, MARKER)
        axes.set_xlabel("probability that the model gives its choice, %")
        axes.set_ylabel("its choice was preferred, %")
        return inline(figure, "Share of preferred choices against the probability that the model gives them")
