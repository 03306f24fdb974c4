"""Means, variances and intervals over prompts. Prompts are the clusters; responses to one prompt are not independent
(E5).

Arrays are [B, K]: B prompts, K responses, nan where a sample failed. Undefined figures are nan, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from alignpro.maths import rounding
from alignpro.types import FloatArray

Interval = tuple[float, float]


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


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], FloatArray],
    prompts: int,
    draws: int,
    seed: int,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic under resampling of prompts.

    `statistic` takes resampled prompt indices [draws, B] and gives one value a draw. With fewer than two prompts: nan.
    """
    if prompts < 2:
        return (np.nan, np.nan)
    index = np.random.default_rng(seed).integers(0, prompts, (draws, prompts))
    values = statistic(index)
    if np.isnan(values).all():
        return (np.nan, np.nan)
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high))


def mean_interval(per_prompt: FloatArray, draws: int, seed: int) -> Interval:
    """Bootstrap interval over prompts of the mean of one figure a prompt [B]; nan entries are left out."""
    present = per_prompt[np.isfinite(per_prompt)]
    return bootstrap(lambda index: np.asarray(present[index].mean(1)), len(present), draws, seed)


def pooled(values: FloatArray, prompts: npt.NDArray[np.int64], draws: int, seed: int) -> tuple[float, Interval]:
    """Mean over all values [N] and its bootstrap interval over prompts, which `prompts` [N] tell; nan is left out.

    Every value counts once, so that a prompt with more of them counts more.
    """
    present = np.isfinite(values)
    if not present.any():
        return (np.nan, (np.nan, np.nan))
    which = np.unique(prompts[present], return_inverse=True)[1]
    count, total = np.bincount(which), np.bincount(which, values[present])
    interval = bootstrap(lambda index: np.asarray(total[index].sum(1) / count[index].sum(1)), len(count), draws, seed)
    return float(values[present].mean()), interval


def studentised_interval(per_prompt: FloatArray, draws: int, seed: int, level: float = 0.95) -> Interval:
    """Bootstrap-t interval over prompts of the mean of one figure a prompt [B]; nan entries are left out.

    Resamples the mean in units of its own standard error, so that skew, as KL divergences have, does not make it cover
    less than it says. Under ten prompts resamples repeat one another and the interval is plain Student's t; fewer than
    two give nan; figures that are all equal give a point.
    """
    present = per_prompt[np.isfinite(per_prompt)]
    if len(present) < 10:
        return t_interval(present.tolist())
    centre, error = present.mean(), present.std(ddof=1)
    if error <= 1e-12 * np.abs(present).max():  # equal figures have a spread of some 1e-17 of them
        return (float(centre), float(centre))
    shares = resamples(len(present), draws, seed)
    away = present - centre
    shift = shares @ away
    spread = np.sqrt(np.maximum(shares @ away**2 - shift**2, 0.0) * len(present) / (len(present) - 1))
    some = spread > 1e-7 * np.abs(away).max()  # under the root stood a difference of squares, and its rounding
    pivot = shift / np.where(some, spread, np.nan)
    low, high = np.nanquantile(pivot, [(1 - level) / 2, (1 + level) / 2])
    return (float(centre - high * error), float(centre - low * error))


@lru_cache(maxsize=8)
def resamples(prompts: int, draws: int, seed: int) -> FloatArray:
    """The share that each prompt has in each resample [draws, prompts]: resampled means are one product of matrices."""
    uniform = np.full(prompts, 1 / prompts)
    return np.random.default_rng(seed).multinomial(prompts, uniform, draws) / prompts


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


def paired_difference(a: FloatArray, b: FloatArray, draws: int, seed: int) -> tuple[float, Interval]:
    """Mean over prompts of a's mean less b's, and its interval; both [B, K] on the same prompts."""
    difference = rounding.difference(prompt_means(a), prompt_means(b))
    return _nanmean(difference), mean_interval(difference, draws, seed)


def unpaired_difference(a: FloatArray, b: FloatArray, draws: int, seed: int) -> tuple[float, Interval]:
    """Mean of a [A] less mean of b [B], figures of different prompts, and its bootstrap interval, in which both are
    resampled apart; nan entries are left out, and fewer than two on a side give no interval."""
    sides = [values[np.isfinite(values)] for values in (a, b)]
    value = _nanmean(sides[0]) - _nanmean(sides[1])
    if min(map(len, sides)) < 2:
        return value, (np.nan, np.nan)
    drawn = [resamples(len(side), draws, seed + number) @ side for number, side in enumerate(sides)]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    return value, (float(low), float(high))


def _nanmean(values: FloatArray) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
