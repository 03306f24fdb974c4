"""Figures along an axis: quantities over training steps, and the plane of reward against KL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from alignpro.evaluate.arms import known
from alignpro.report.drawing import INK, canvas, dot, drawing, inline
from alignpro.report.palette import Looks
from alignpro.report.run_folder import Curves
from alignpro.results import Arm, Estimate, Evaluation, Sample
from alignpro.types import FloatArray

Points = Mapping[str, tuple[FloatArray, FloatArray]]
"""Arm -> (steps, values)."""


def window_of(steps: int) -> int:
    """Steps that the running mean covers: a tenth of those there are, an odd number, at least one."""
    return max(1, steps // 10) // 2 * 2 + 1


def running_mean(values: FloatArray, window: int) -> FloatArray:
    """Centred mean over an odd `window`, over the neighbours there are at the ends and never over nan."""
    half = window // 2
    present = np.isfinite(values)
    kernel = np.ones(window)
    total = np.convolve(np.where(present, values, 0.0), kernel)[half : half + len(values)]
    counts = np.convolve(present.astype(np.float64), kernel)[half : half + len(values)]
    mean: FloatArray = np.divide(total, counts, out=np.full(len(values), math.nan), where=counts > 0.5)
    return mean


def over_steps(curves: Curves, column: str, name: str, token: str, label: str, points: Points, looks: Looks) -> str:
    """One quantity over the steps, every step pale and the running mean bold, with `points` by arm upon it."""
    with drawing(name):
        figure, axes = canvas(190, 300)
        steps, values = curves["step"], curves[column]
        smooth = running_mean(values, window_of(len(steps)))
        axes.plot(steps, values, color=INK[token], linewidth=1, alpha=0.4)
        axes.plot(steps, smooth, color=INK[token], marker="o" if len(steps) == 1 else None)
        for arm, (at, means) in points.items():
            for x, y in zip(at, means, strict=True):
                dot(axes, x, y, looks[arm].token, looks[arm].marker)
        axes.set_xlabel("step")
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.locator_params(axis="y", nbins=5)
        return inline(figure, label)


def monitor_means(samples: Sequence[Sample]) -> Points:
    """Mean rewards of the small evaluations during training."""
    found: dict[str, dict[float, list[float]]] = {}
    for sample in samples:
        if math.isfinite(sample.reward) and math.isfinite(sample.step):
            found.setdefault(sample.arm, {}).setdefault(sample.step, []).append(sample.reward)
    return {
        arm: (np.array(sorted(by_step)), np.array([np.mean(by_step[step]) for step in sorted(by_step)]))
        for arm, by_step in sorted(found.items())
    }


def placed_on_kl(evaluation: Evaluation) -> list[tuple[Arm, Estimate]]:
    """Arms with a prompter whose KL to the reference is known; a fine-tuned model's KL is of another policy."""
    prompted = [(arm, arm.kl) for arm in evaluation.arms.values() if not _without_prompter(arm)]
    return [(arm, kl) for arm, kl in prompted if kl and kl.defined and arm.reward.defined]


def level_lines(evaluation: Evaluation) -> list[Arm]:
    """Arms without a prompter, which have a mean reward and no place on the KL axis."""
    return [arm for arm in evaluation.arms.values() if _without_prompter(arm) and arm.reward.defined]


def _without_prompter(arm: Arm) -> bool:
    kind = known(arm.name)
    return kind is not None and not kind.rewrites


def plane(evaluation: Evaluation, looks: Looks, name: str) -> str:
    """Mean reward of each arm against its KL to the reference prompter."""
    with drawing(name):
        figure, axes = canvas(330)
        for arm in level_lines(evaluation):
            colour = INK[looks[arm.name].token]
            axes.axhline(arm.reward.value, color=colour, linewidth=1.6, linestyle=(0, (6, 3)))
            if arm.reward.bounded:
                axes.axhspan(arm.reward.lo, arm.reward.hi, color=colour, alpha=0.1, linewidth=0)
        for arm, kl in placed_on_kl(evaluation):
            look = looks[arm.name]
            at, colour = kl.value, INK[look.token]
            if arm.reward.bounded:
                axes.plot([at, at], [arm.reward.lo, arm.reward.hi], color=colour, linewidth=2.5)
            if kl.bounded:
                axes.plot([kl.lo, kl.hi], [arm.reward.value] * 2, color=colour, linewidth=2.5)
            dot(axes, at, arm.reward.value, look.token, look.marker, size=10)
        axes.set_xlabel("KL to the reference prompter, nats")
        axes.set_ylabel("mean reward")
        return inline(figure, "Mean reward of each arm against how far its prompter left the reference")
