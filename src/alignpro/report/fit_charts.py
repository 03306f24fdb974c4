"""The charts of a learned reward and of a fitted prompter."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, NullFormatter

from alignpro.report.drawing import DASHES, INK, Chart, canvas, cross, drawing, inline
from alignpro.report.words import count
from alignpro.results import Epoch, Estimate, OfConfidence, OnCurve

TOKEN = "align-pro"
SHAPE = (TOKEN, "D")


def learning_curve(points: Sequence[OnCurve], longer: Estimate) -> Chart:
    """Held-out accuracy in percent against training pairs, on a scale of doublings; `longer` is a dashed level."""
    with drawing("reward-learning"):
        figure, axes = canvas(300)
        places = [point.pairs for point in points]
        axes.plot(places, [100 * point.accuracy.value for point in points], color=INK[TOKEN], linewidth=1.6)
        for point in points:
            cross(axes, Estimate(point.pairs), point.accuracy.scaled(100), *SHAPE, width=2.5, alpha=0.6)
        if longer.defined:
            axes.axhline(100 * longer.value, color=INK["muted"], linewidth=1.2, linestyle=DASHES)
        axes.set_xscale("log", base=2)
        axes.set_xticks(places)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.08)
        axes.set_xlabel("training pairs")
        axes.set_ylabel("held-out accuracy, %")
        svg = inline(figure, "Held-out accuracy against the number of training pairs")
    return Chart("Accuracy against training pairs", "Dashed: the longer answer wins.", svg)


def reliability(bins: Sequence[OfConfidence]) -> Chart:
    """Share preferred against the model's probability, both in percent, with the line where they are equal."""
    with drawing("reward-calibration"):
        figure, axes = canvas(300)
        axes.plot([50, 100], [50, 100], color=INK["muted"], linewidth=1.2, linestyle=DASHES)
        for found in bins:
            cross(axes, Estimate(100 * found.confidence), found.accuracy.scaled(100), *SHAPE, width=2.5, alpha=0.6)
        axes.set_xlabel("probability that the model gives its choice, %")
        axes.set_ylabel("its choice was preferred, %")
        svg = inline(figure, "Share of preferred choices against the probability that the model gives them")
    return Chart("Reliability", "Markers: bins of like size, with 95% intervals.", svg)


def epochs(rows: Sequence[Epoch], kept: float, held_out: Estimate) -> Chart:
    """Validation loss by epoch in nats a token, and the held-out loss of the kept epoch with its interval."""
    with drawing("sft-epochs"):
        figure, axes = canvas(300)
        places = [row.epoch for row in rows]
        axes.plot(places, [row.validation_loss for row in rows], color=INK["muted"], linewidth=1.6)
        for row in rows:
            size = 8.5 if row.epoch == kept else 5.0
            axes.plot([row.epoch], [row.validation_loss], color=INK["muted"], marker="o", markersize=size, zorder=3)
        cross(axes, Estimate(kept + 0.12), held_out, *SHAPE, width=2.5, alpha=0.6)
        axes.set_xticks(places)
        axes.margins(x=0.1)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss, nats a token")
        svg = inline(figure, "Loss on validation pairs by epoch, and on held-out pairs of the epoch that is kept")
    text = "Circles: validation pairs, the large one the epoch that is kept. Diamond: held-out pairs, 95% interval."
    return Chart("Loss against epochs, nats a token", text, svg)
