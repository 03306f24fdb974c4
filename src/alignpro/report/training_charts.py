"""The charts of a training: its quantities over the steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from alignpro.report.drawing import INK, Chart, canvas, dot, drawing, inline
from alignpro.report.palette import Looks
from alignpro.report.reading import Curves
from alignpro.results import Sample
from alignpro.types import FloatArray

MAIN = {
    "reward": ("Reward", "Mean reward of the step's samples."),
    "kl": ("KL", "How far the trained policy left its reference, in nats a sample."),
    "objective": ("Objective", "What training maximises: the reward less the KL at its price, kl_coef."),
}
DIAGNOSTICS = {
    "approx_kl": "How far the step's updates moved the policy, in nats a token.",
    "clip_share": "Share of tokens at which PPO's clip held the update back.",
    "explained_variance": "Share of the returns' variance that the value head foresees; 1 is all, 0 none.",
    "sampling_gap": "How far log-probabilities as sampled lie from those that the update computes, in nats a token.",
    "sampling_kl": "The KL that this difference feigns, in nats a sample.",
    "policy_loss": "PPO's clipped surrogate loss.",
    "value_loss": "Squared error of the value head.",
    "grad_norm": "Length of the gradient before clipping.",
    "learning_rate": "Size of the optimiser's steps.",
    "kl_coef": "The price of KL in the objective.",
    "reward_std": "Standard deviation of the rewards within the step.",
    "action_tokens": "Mean length of what the policy wrote, in tokens.",
    "cut_off": "Share of what the policy wrote that was cut off at the length limit.",
    "empty": "Share of what the policy wrote that is empty.",
    "rejected": "Share of the step's rewrites that guards reject.",
    "failed": "Samples of the step without a reward.",
    "frozen_calls": "Responses asked of the frozen model so far.",
    "seconds": "Seconds of training so far.",
    "peak_gib": "The most memory held since the process began, in GiB.",
}

TERMS = {
    "reward.": "A term of the reward: mean raw score of the step.",
    "prompt_term.": "A term on the rewrite: mean raw value of the step.",
}

Points = Mapping[str, tuple[FloatArray, FloatArray]]
"""Arm -> (steps, values)."""


@dataclass(frozen=True, slots=True)
class TrainingCharts:
    """What most ask for, and what is behind a fold."""

    main: tuple[Chart, ...]
    further: tuple[Chart, ...]


def training_charts(
    columns: Curves,
    name: str,
    token: str,
    looks: Looks,
    validation: Curves | None = None,
    monitor: Sequence[Sample] = (),
) -> TrainingCharts | None:
    """Every quantity that is known, over the steps; looks at the `validation` prompts stand upon those they have.

    A run from before there were such prompts looked at held-out ones, of which `monitor` holds the samples.
    """
    if not columns:
        return None
    arm = "rlhf" if name == "rlhf" else "align_pro"
    seen = validation or {}
    points = {column: {arm: (seen["step"], seen[column])} for column in MAIN if column in seen}
    before = {} if points else monitor_means(monitor)

    def chart(column: str, title: str, meaning: str) -> Chart:
        upon: Points = points.get(column) or (before if column == "reward" else {})
        if upon:
            marks = ", ".join(f"{looks[arm].label} {looks[arm].glyph}" for arm in upon)
            meaning += f" Markers: small evaluations on {'held-out' if before else 'validation'} prompts ({marks})."
        label = f"{title} over training steps"
        return Chart(title, meaning, _over_steps(columns, column, f"{name}-{column}", token, label, upon, looks))

    main = tuple(chart(column, *told) for column, told in MAIN.items() if column in columns)
    further = [chart(column, column, meaning) for column, meaning in DIAGNOSTICS.items() if column in columns]
    further += [
        chart(column, column.removeprefix(prefix), meaning)
        for prefix, meaning in TERMS.items()
        for column in columns
        if column.startswith(prefix)
    ]
    return TrainingCharts(main, tuple(further)) if main or further else None


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


def _over_steps(curves: Curves, column: str, name: str, token: str, label: str, points: Points, looks: Looks) -> Markup:
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
