"""Means, variances and intervals over prompts. Prompts are the clusters; responses to one prompt are not independent
(E5).

Arrays are [B, K]: B prompts, K responses, nan where a sample failed. Undefined figures are nan, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.types import FloatArray

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Variance:
    """Total variance of a response's reward, and its two parts: total = between + within."""

    total: float
    between: float
    within: float


def prompt_means(rewards: FloatArray) -> FloatArray:
    """Mean over each prompt's responses [B]; nan where a prompt has none."""
    count = np.isfinite(rewards).sum(1)
    total = np.where(np.isfinite(rewards), rewards, 0.0).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count)


def mean_over_responses(rewards: FloatArray) -> FloatArray:
    """R(x, x') [B, G] from rewards [B, G, K]: the mean of the responses that have one, nan where none has. (8)"""
    count = np.isfinite(rewards).sum(-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(rewards), rewards, 0.0).sum(-1) / count)


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


def paired_difference(a: FloatArray, b: FloatArray, draws: int, seed: int) -> tuple[float, Interval]:
    """Mean over prompts of a's mean less b's, and its interval; both [B, K] on the same prompts."""
    difference = prompt_means(a) - prompt_means(b)
    return _nanmean(difference), mean_interval(difference, draws, seed)


def _nanmean(values: FloatArray) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
