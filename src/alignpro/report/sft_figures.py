"""The figure of a fitted prompter. The function returns one SVG."""

from __future__ import annotations

from collections.abc import Sequence

from alignpro.report.drawing import INK, canvas, dot, drawing, inline
from alignpro.results import Estimate

TEST = "align-pro"


def epochs(losses: Sequence[tuple[float, float]], kept: float, held_out: Estimate, name: str) -> str:
    """Validation loss by epoch in nats a token, and the held-out loss of the kept epoch with its interval."""
    with drawing(name):
        figure, axes = canvas(300)
        axes.plot([e for e, _ in losses], [loss for _, loss in losses], color=INK["muted"], linewidth=1.6)
        for epoch, loss in losses:
            size = 8.5 if epoch == kept else 5.0
            axes.plot([epoch], [loss], color=INK["muted"], marker="o", markersize=size, zorder=3)
        if held_out.defined and kept == kept:
            place = kept + 0.12
            if held_out.bounded:
                axes.plot([place, place], [held_out.lo, held_out.hi], color=INK[TEST], linewidth=2.5, alpha=0.6)
            dot(axes, place, held_out.value, TEST, "D")
        axes.set_xticks([epoch for epoch, _ in losses])
        axes.margins(x=0.1)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss, nats a token")
        return inline(figure, "Loss on validation pairs by epoch, and on held-out pairs of the epoch that is kept")
