"""Intervals of a variance and its parts, over prompts. Rewards are [B, K]: B prompts, K responses, nan where one
failed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignpro.maths import stats
from alignpro.maths.stats import ALIKE, FEWEST, TOO_FEW, Interval, Withheld
from alignpro.types import FloatArray

LEAST = 1e-9
"""A variance this small beside that of all prompts is rounding."""
ONE_APART, ONE_ANSWER = "all prompts but one alike", "one answer a prompt"


@dataclass(frozen=True, slots=True)
class VarianceIntervals:
    """95% intervals of the figures of `stats.Variance`."""

    total: Interval
    between: Interval
    within: Interval


def variance_intervals(rewards: FloatArray) -> VarianceIntervals:
    """Intervals over prompts of total, between and within.

    Of total, within and the variance of the prompts' means: the interval of the mean of the jackknife's pseudo-values
    of its logarithm, since a variance's error grows with it. Between, which is that of the means less what within adds
    to it and can be 0, has the bounds that follow from theirs (Ting et al. 1990, which keep coverage). No bound is
    below 0. Withheld of under five prompts with two rewards, and where prompts are alike.
    """
    count = np.isfinite(rewards).sum(1)
    rewards, count = rewards[count > 0], count[count > 0]
    usable, prompts = count > 1, len(count)
    if prompts < FEWEST or 0 < usable.sum() < FEWEST:
        return VarianceIntervals(*[Withheld(TOO_FEW)] * 3)
    if not usable.any():
        return VarianceIntervals(*[Withheld(ONE_ANSWER)] * 3)
    means = stats.prompt_means(rewards)
    residual = np.where(np.isfinite(rewards), rewards - means[:, None], 0.0)
    away = means - means.mean()
    rounding = stats.ROUNDING * np.nanmax(np.abs(rewards))
    residual, away = (np.where(np.abs(gaps) > rounding, gaps, 0.0) for gaps in (residual, away))
    each = (residual**2).sum(1)[usable] / (count[usable] - 1)
    within, within_left = float(each.mean()), np.full(prompts, each.mean())
    within_left[usable] = (each.sum() - each) / (len(each) - 1)
    away = away**2
    spread, spread_left = (
        float(away.sum() / (prompts - 1)),
        (away.sum() - away * prompts / (prompts - 1)) / (prompts - 2),
    )
    noise, noise_left = float((1 / count).mean()), ((1 / count).sum() - 1 / count) / (prompts - 1)

    of_within = _of_logarithm(within, within_left[usable])
    of_spread = _of_logarithm(spread, spread_left)
    total = _of_logarithm(spread + within * (1 - noise), spread_left + within_left * (1 - noise_left))
    stated = within + max(0.0, spread - within * noise)  # of a negative part between, the total holds none
    if not math.isnan(total[0]):
        total = (min(total[0], stated), max(total[1], stated))
    return VarianceIntervals(total, _less(spread, of_spread, within, of_within, noise), of_within)


def _of_logarithm(value: float, left_out: FloatArray) -> Interval:
    """The interval of a positive figure, from its values with each prompt left out [B]."""
    if not value > 0:
        return Withheld(ALIKE)
    if (left_out <= LEAST * value).any():
        return Withheld(ONE_APART)
    prompts = len(left_out)
    interval = stats.mean_interval(math.log(value) + (prompts - 1) * np.log(value / left_out))
    if isinstance(interval, Withheld):
        return interval
    with np.errstate(over="ignore"):
        low, high = np.exp(interval)
    return (float(low), float(high))


def _less(spread: float, of_spread: Interval, within: float, of_within: Interval, noise: float) -> Interval:
    """The interval of `spread` less `noise` times `within`, not below 0, from those of both."""
    if isinstance(of_spread, Withheld):
        return of_spread
    if within == 0:
        of_within = (0.0, 0.0)
    elif isinstance(of_within, Withheld):
        return of_within
    value = spread - noise * within
    down = math.hypot(spread - of_spread[0], noise * (of_within[1] - within))
    up = math.hypot(of_spread[1] - spread, noise * (within - of_within[0]))
    return (max(0.0, value - down), max(0.0, value + up))
