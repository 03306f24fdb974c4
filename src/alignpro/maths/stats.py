"""Means, variances and intervals over prompts. Prompts are the clusters; responses to one prompt are not independent
(E5).

Arrays are [B, K]: B prompts, K responses, nan where a sample failed. Undefined figures are nan, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.maths import rounding
from alignpro.types import FloatArray

Interval = tuple[float, float]
FEWEST = 5
"""Prompts below which figures have no interval."""
ROUNDING = 1e-12
"""A spread this small beside its figures is rounding."""
TOO_FEW, ALIKE = f"under {FEWEST} prompts", "all prompts alike"


class Withheld(tuple[float, float]):
    """No interval: (nan, nan), and `why` in a few words."""

    why: str

    def __new__(cls, why: str) -> Withheld:
        interval = super().__new__(cls, (math.nan, math.nan))
        interval.why = why
        return interval


@dataclass(frozen=True, slots=True)
class Variance:
    """Total variance of a response's reward, and its two parts: total = between + within."""

    total: float
    between: float
    within: float


def mean_over_responses(rewards: FloatArray) -> FloatArray:
    """R(x, x') [B, G] from rewards [B, G, K]: the mean of the responses that have one, nan where none has. (8)"""
    count = np.isfinite(rewards).sum(-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(rewards), rewards, 0.0).sum(-1) / count)


def prompt_means(rewards: FloatArray) -> FloatArray:
    """Mean over each prompt's responses [B]; nan where a prompt has none."""
    return mean_over_responses(rewards)


def mean(rewards: FloatArray) -> float:
    """Mean over prompts of the prompts' means."""
    return _nanmean(prompt_means(rewards))


def variance(rewards: FloatArray) -> Variance:
    """Split the variance between and within prompts (one-way random effects, equal weight to every prompt).

    within = mean of the prompts' unbiased variances; between = variance of the prompts' means less what noise within
    adds to it, not below 0. Both are nan where fewer than two responses or prompts allow them.
    """
    count = np.isfinite(rewards).sum(1)
    means = prompt_means(rewards)
    residual = np.where(np.isfinite(rewards), rewards - means[:, None], 0.0)
    usable = count > 1
    if not usable.any():
        return Variance(np.nan, np.nan, np.nan)
    each = (residual[usable] ** 2).sum(1) / (count[usable] - 1)
    within = float(each.mean())
    present = means[count > 0]
    if len(present) < 2:
        return Variance(np.nan, np.nan, within)
    between = max(0.0, float(present.var(ddof=1) - (within / count[count > 0]).mean()))
    return Variance(between + within, between, within)


def mean_interval(per_prompt: FloatArray) -> Interval:
    """95% interval over prompts of the mean of one figure a prompt [B]; nan entries are left out.

    The wider, at either end, of Student's t and of t on Hall's transform (1992), which unbends the skew that the
    figures show: t alone covers too little where they are skewed, and the transform where they only seem so. Withheld
    of under five prompts, and where all figures are equal, so that nothing tells how others would lie.
    """
    present = per_prompt[np.isfinite(per_prompt)]
    if len(present) < FEWEST:
        return Withheld(TOO_FEW)
    return _bounds(float(present.mean()), [present])


def ratio(sums: FloatArray, counts: FloatArray) -> tuple[float, Interval]:
    """Sum of `sums` [C] over that of `counts` [C], one of each a prompt, and its interval over prompts."""
    value = float(sums.sum() / counts.sum()) if len(sums) and counts.sum() else math.nan
    return value, mean_interval(value + influence(sums, counts)) if len(sums) else Withheld(TOO_FEW)


def influence(sums: FloatArray, counts: FloatArray) -> FloatArray:
    """What each prompt adds to the ratio of sums to counts, to first order, times the number of prompts [C]."""
    with np.errstate(invalid="ignore"):
        return np.asarray((sums - sums.sum() / counts.sum() * counts) / counts.mean())


def pooled(values: FloatArray, prompts: npt.NDArray[np.int64]) -> tuple[float, Interval]:
    """Mean over all values [N] and its interval over prompts, which `prompts` [N] tell; nan is left out.

    Every value counts once, so that a prompt with more of them counts more.
    """
    return ratio(*sums_over_prompts(values, prompts))


def sums_over_prompts(values: FloatArray, prompts: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """The sum and the number of each prompt's values [C], from values [N] and whose they are; nan is left out."""
    present = np.isfinite(values)
    if not present.any():
        return np.zeros(0), np.zeros(0)
    which = np.unique(prompts[present], return_inverse=True)[1]
    return np.bincount(which, values[present]).astype(np.float64), np.bincount(which).astype(np.float64)


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], FloatArray], prompts: int, draws: int, seed: int
) -> Interval:
    """95% interval of a statistic under resampling of prompts, for what has no formula: percentiles, as far out as
    Student's t and the spread that resamples lack ask for (Hesterberg 2015).

    `statistic` takes resampled prompt indices [draws, B] and gives one value a draw. Withheld of under five prompts,
    and where all resamples give the same.
    """
    if prompts < FEWEST:
        return Withheld(TOO_FEW)
    index = np.random.default_rng(seed).integers(0, prompts, (draws, prompts))
    return percentiles(statistic(index), prompts)


def percentiles(values: FloatArray, prompts: int) -> Interval:
    """The interval that values [draws] of resamples of `prompts` prompts give; nan where none has a value."""
    values = values[np.isfinite(values)]
    if not len(values):
        return (math.nan, math.nan)
    outside = math.erfc(t_quantile(prompts - 1) * math.sqrt(prompts / (prompts - 1) / 2)) / 2
    low, high = np.quantile(values, [outside, 1 - outside])
    if high - low <= ROUNDING * max(abs(low), abs(high)):
        return Withheld(ALIKE)
    return (float(low), float(high))


T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""97.5% quantiles of Student's t with 1 to 15 degrees of freedom."""


def t_interval(values: Sequence[float]) -> Interval:
    """95% interval of the mean of a few independent runs, by Student's t; nan for fewer than two.

    Beyond 16 runs the quantile is that of the normal with Fisher's first correction, right to three digits.
    """
    n = len(values)
    if n < 2:
        return (np.nan, np.nan)
    centre, half = float(np.mean(values)), float(t_quantile(n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return (centre - half, centre + half)


def t_quantile(freedom: int) -> float:
    """97.5% quantile of Student's t with 1 or more degrees of freedom."""
    return T_975[freedom - 1] if freedom <= len(T_975) else 1.95996 + 2.37227 / freedom + 2.8225 / freedom**2


def paired_difference(a: FloatArray, b: FloatArray) -> tuple[float, Interval]:
    """Mean over prompts of a's mean less b's, and its interval; both [B, K] on the same prompts."""
    difference = rounding.difference(prompt_means(a), prompt_means(b))
    return _nanmean(difference), mean_interval(difference)


def unpaired_difference(a: FloatArray, b: FloatArray) -> tuple[float, Interval]:
    """Mean of a [A] less mean of b [B], figures of different prompts, and its interval, as of a mean with Welch's
    degrees of freedom; nan entries are left out, and under five on a side give no interval."""
    sides = [values[np.isfinite(values)] for values in (a, b)]
    value = _nanmean(sides[0]) - _nanmean(sides[1])
    if min(map(len, sides)) < FEWEST:
        return value, Withheld(TOO_FEW)
    return value, _bounds(value, [sides[0], -sides[1]])


def _bounds(value: float, sides: Sequence[FloatArray]) -> Interval:
    """The interval of `value`, the sum of the means of independent `sides`."""
    size = max(float(np.abs(side).max()) for side in sides) or 1.0
    counts, variances, plain, thirds = zip(*(_cumulants(side / size) for side in sides), strict=True)
    variance = sum(variances)
    error = math.sqrt(variance)
    if error <= ROUNDING:
        return Withheld(ALIKE)
    freedom = variance**2 / sum(own**2 / (n - 1) for own, n in zip(variances, counts, strict=True))
    quantile = t_quantile(int(freedom + 1e-9))
    skew = sum(thirds) / sum(plain) ** 1.5
    low, high = (_unbent(end, skew) for end in (quantile, -quantile))
    return (value - max(quantile, low) * error * size, value + max(quantile, -high) * error * size)


def _cumulants(values: FloatArray) -> tuple[int, float, float, float]:
    """Of a mean of n values: n, its variance, that with n for n - 1, and its third cumulant."""
    n, away = len(values), values - values.mean()
    square, cube = float((away**2).sum()), float((away**3).sum())
    return n, square / (n * (n - 1)), square / n**2, cube / (n * (n - 1) * (n - 2))


def _unbent(z: float, skew: float) -> float:
    """Where Hall's transform of a studentised mean of skewness `skew` is z: 3 / a ((1 + a (z - a / 6))^(1/3) - 1)."""
    if abs(skew) < 1e-6:
        return z
    return 3 / skew * (float(np.cbrt(1 + skew * (z - skew / 6))) - 1)


def _nanmean(values: FloatArray) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
