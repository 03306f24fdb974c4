"""Intervals of a variance and its parts, over prompts. Rewards are [B, K]: B prompts, K responses, nan where one
failed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignpro.maths import stats
from alignpro.maths.stats import Interval
from alignpro.types import FloatArray

AT_ONCE = 1_000_000
"""Entries of [draws, B] held at a time."""
FEWEST = 30
"""Prompts below which some resamples have next to no spread of their own, and Student's t stands for them."""
ROUNDING = 1e-9
"""An error this small beside its figure is rounding."""
LOGARITHMIC = np.array([True, False, True])
"""Which of total, between and within are taken on the scale of their logarithm: between can be 0."""


@dataclass(frozen=True, slots=True)
class VarianceIntervals:
    """95% intervals of the figures of `stats.Variance`."""

    total: Interval = (np.nan, np.nan)
    between: Interval = (np.nan, np.nan)
    within: Interval = (np.nan, np.nan)


def variance_intervals(rewards: FloatArray, draws: int, seed: int) -> VarianceIntervals:
    """Bootstrap-t intervals over prompts of total, between and within.

    Each resample's figure less the whole's, in units of its own standard error (infinitesimal jackknife), total and
    within as logarithms, since a variance's error grows with it. Under 30 prompts Student's t takes the place of
    resamples. No bound is below 0. Fewer than two prompts, or no prompt with two rewards: nan. A figure that all
    prompts share is a point.
    """
    count = np.isfinite(rewards).sum(1)
    told = _Prompts.of(rewards[count > 0])
    prompts = len(told.means)
    if prompts < 2 or not told.usable.any():
        return VarianceIntervals()
    values, errors = (column[:, 0] for column in told.figures(np.full((1, prompts), 1 / prompts)))
    pivots = np.tile(np.array([-1, 1]) * stats.t_quantile(prompts - 1), (3, 1))
    if prompts >= FEWEST:
        pivots = _quantiles(told, values, draws, seed)
    total, between, within = map(_bounds, values, errors, pivots, LOGARITHMIC)
    stated = float(values[2] + max(0.0, values[1]))  # of a negative part between, the total holds none
    return VarianceIntervals((min(total[0], stated), max(total[1], stated)), between, within)


@dataclass(frozen=True, slots=True)
class _Prompts:
    """What each prompt gives [B]: its mean, its variance, whether it has one, and 1 over its responses."""

    means: FloatArray
    within: FloatArray
    usable: FloatArray
    noise: FloatArray

    @classmethod
    def of(cls, rewards: FloatArray) -> _Prompts:
        count, means = np.isfinite(rewards).sum(1), stats.prompt_means(rewards)
        residual = np.where(np.isfinite(rewards), rewards - means[:, None], 0.0)
        within = (residual**2).sum(1) / np.maximum(count - 1, 1)
        return cls(means, within, (count > 1).astype(float), 1 / count)

    def figures(self, shares: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Total, between (not bounded at 0) and within, and their standard errors [3, draws], of prompts that have
        `shares` [draws, B]."""
        prompts = len(self.means)
        correction = prompts / (prompts - 1)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without a usable prompt has none
            usable = shares @ self.usable
            within = shares @ (self.usable * self.within) / usable
            away = self.means - (shares @ self.means)[:, None]
            spread = correction * (shares * away**2).sum(1)
            noise = shares @ self.noise
            between = spread - within * noise
            # What each prompt adds to the figures, to first order [draws, B].
            to_within = self.usable * (self.within - within[:, None]) / usable[:, None]
            to_between = correction * away**2 - spread[:, None] - to_within * noise[:, None]
            to_between -= within[:, None] * (self.noise - noise[:, None])
            errors = [
                np.sqrt((shares * added**2).sum(1) / (prompts - 1))
                for added in (to_between + to_within, to_between, to_within)
            ]
        return np.array([between + within, between, within]), np.array(errors)


def _quantiles(told: _Prompts, values: FloatArray, draws: int, seed: int) -> FloatArray:
    """2.5% and 97.5% quantiles [3, 2] of resampled figures less `values` [3], in their own standard errors."""
    shares = stats.resamples(len(told.means), draws, seed)
    step = max(1, AT_ONCE // len(told.means))
    blocks = []
    for start in range(0, draws, step):
        drawn, errors = told.figures(shares[start : start + step])
        with np.errstate(invalid="ignore", divide="ignore"):
            away = np.where(LOGARITHMIC[:, None], np.log(drawn / values[:, None]) * drawn, drawn - values[:, None])
            blocks.append(np.where(errors > ROUNDING * np.abs(drawn), away / errors, np.nan))
    pivots = np.concatenate(blocks, axis=1)
    pivots[~np.isfinite(pivots)] = np.nan
    return np.array([np.nanquantile(row, [0.025, 0.975]) if np.isfinite(row).any() else [np.nan] * 2 for row in pivots])


def _bounds(value: float, error: float, pivot: FloatArray, logarithmic: bool) -> Interval:
    low, high = -pivot[::-1] * error
    if error <= ROUNDING * abs(value):
        low = high = 0.0
    if logarithmic and value > 0:
        return (float(value * np.exp(low / value)), float(value * np.exp(high / value)))
    return (max(0.0, float(value + low)), max(0.0, float(value + high)))
