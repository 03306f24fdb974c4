"""Confidence sequences: intervals for a mean that hold at every look together, however often one looks and whatever it
is that makes one stop."""

from __future__ import annotations

import math

import numpy as np

from alignpro.types import FloatArray

LEVEL = 0.05
"""Chance that any of the intervals ever misses the mean."""
LEAST = 50
"""Values from which on there is an interval where they have no bounds: earlier, its limit says nothing."""
TUNED_FOR = 1000
"""Values at which intervals of values without bounds are the narrowest."""
_LARGEST_BET = 0.5

Bounds = tuple[FloatArray, FloatArray]
"""Lower and upper ends [N], after each value."""


def bounded(values: FloatArray, low: float, high: float, level: float = LEVEL) -> Bounds:
    """The mean of independent values [N] within [low, high], or of any whose mean, given those before, is the same.

    The predictable plug-in empirical-Bernstein sequence of Waudby-Smith and Ramdas (2024), Estimating means of bounded
    random variables by betting, Theorem 2, of x = (value - low) / (high - low), intersected over the looks so far:

        sum l_i x_i / sum l_i -+ (log(2/level) + sum 4 (x_i - m_{i-1})^2 psi(l_i)) / sum l_i,
        psi(l) = (-log(1 - l) - l) / 4,  l_t = min(1/2, sqrt(2 log(2/level) / (s_{t-1} t log(1 + t)))),
        m_t = (1/2 + sum x_i) / (t + 1),  s_t = (1/4 + sum (x_i - m_i)^2) / (t + 1)

    It holds for every N, not in a limit. Raises ValueError for a value outside.
    """
    if not len(values):
        return values, values
    x = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"a value of {values[(x < 0) | (x > 1)][0]:g} lies outside of [{low:g}, {high:g}]")
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    spread = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    mean_before, spread_before = np.r_[0.5, mean[:-1]], np.r_[0.25, spread[:-1]]
    bet = np.minimum(np.sqrt(2 * math.log(2 / level) / (spread_before * t * np.log1p(t))), _LARGEST_BET)
    risk = np.cumsum((x - mean_before) ** 2 * (-np.log1p(-bet) - bet))
    total = np.cumsum(bet)
    centre, half = np.cumsum(bet * x) / total, (math.log(2 / level) + risk) / total
    lower = np.maximum.accumulate(np.clip(centre - half, 0, 1))
    upper = np.minimum.accumulate(np.clip(centre + half, 0, 1))
    return low + (high - low) * lower, low + (high - low) * upper


def asymptotic(values: FloatArray, level: float = LEVEL, tuned_for: int = TUNED_FOR, least: int = LEAST) -> Bounds:
    """The mean of independent values [N] of finite variance, without bounds; nan before `least` of them.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central
    limit theory, Theorem 2.2, where s_t is the standard deviation so far:

        mean -+ s_t sqrt(2 (t r^2 + 1) log(sqrt(t r^2 + 1) / level) / (t r)^2),
        r = sqrt((-2 log level + log(-2 log level) + 1) / tuned_for)

    It holds in the limit of many values, as Student's interval does, and is withheld where all are equal.
    """
    t = np.arange(1, len(values) + 1)
    x = np.asarray(values, dtype=np.float64)
    shift = x[0] if len(x) else 0.0  # squares of what is far from zero would lose their digits
    mean = np.cumsum(x - shift) / t
    variance = np.maximum(np.cumsum((x - shift) ** 2) / t - mean**2, 0)
    rho2 = (-2 * math.log(level) + math.log(-2 * math.log(level)) + 1) / tuned_for
    grown = t * rho2 + 1
    half = np.sqrt(variance * 2 * grown * np.log(np.sqrt(grown) / level) / (t * t * rho2))
    half[(t < least) | (half == 0)] = math.nan
    return shift + mean - half, shift + mean + half
