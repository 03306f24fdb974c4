"""Win rates at equal length: how often would the first answer win, were it as long as the second?

A logistic model of the verdict on the difference in length, read at a difference of 0:

    P(win) = 1 / (1 + exp(-(a + b d / s))),   d the difference in length, s its standard deviation,

a tie being half a win. The slope b has a prior of N(0, 5^2), which is all but nothing beside tens of prompts and keeps
the fit finite where length alone tells wins from losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.types import FloatArray

CHUNK = 250
"""Resamples fitted at once, which bounds the memory."""
ROUNDS, ENOUGH = 40, 1e-4
LONGEST_STEP = 2.0
"""Of Newton's method, in either coefficient."""
PRIOR = 1 / 5**2
"""Curvature added for the slope."""
HOLD = 1e-6
"""Curvature added for the intercept, which is infinite where every comparison was won."""


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """The win rate at equal length and its 95% interval; all nan where `withheld` says why there is none."""

    win_rate: float
    ci95: tuple[float, float]
    withheld: str | None = None


def length_controlled(
    points: FloatArray, differences: FloatArray, prompts: npt.NDArray[np.int64], draws: int, seed: int
) -> LengthControlled:
    """From N comparisons: `points` [N] are 1, 0.5 or 0, `differences` [N] in length, `prompts` [N] say which prompt.

    Every prompt has the same weight, however many comparisons it has; the interval resamples prompts. Comparisons
    without a verdict (nan) are left out.
    """
    judged = np.isfinite(points)
    y, d, which = points[judged], differences[judged], np.unique(prompts[judged], return_inverse=True)[1]
    if len(y) == 0 or which.max() < 1:
        return _withheld("fewer than two prompts were judged")
    spread = d.std()
    if spread <= 1e-12 * np.abs(d).max():
        return _withheld("the difference in length is the same in every comparison")
    z = d / spread
    shares = 1.0 / np.bincount(which)[which]
    whole = _fit(y, z, shares[None, :], np.zeros((1, 2)))
    chosen = np.random.default_rng(seed).multinomial(
        which.max() + 1, np.full(which.max() + 1, 1 / (which.max() + 1)), draws
    )
    fitted = [
        _fit(y, z, chosen[start : start + CHUNK][:, which] * shares, np.repeat(whole, min(CHUNK, draws - start), 0))
        for start in range(0, draws, CHUNK)
    ]
    low, high = np.quantile(_at_zero(np.concatenate(fitted)), [0.025, 0.975])
    return LengthControlled(float(_at_zero(whole)[0]), (float(low), float(high)))


def _fit(y: FloatArray, z: FloatArray, weights: FloatArray, start: FloatArray) -> FloatArray:
    """Intercept and slope [W, 2] that fit y [N] on z [N] under each row of weights [W, N]; Newton's method."""
    coefficients = start.copy()
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(coefficients[:, :1] + coefficients[:, 1:] * z, -30, 30)))
        off, bend = weights * (y - p), weights * p * (1 - p)
        slope_a, slope_b = off.sum(1) - HOLD * coefficients[:, 0], off @ z - PRIOR * coefficients[:, 1]
        aa, ab, bb = bend.sum(1) + HOLD, bend @ z, bend @ z**2 + PRIOR
        determinant = aa * bb - ab**2
        step = np.stack([bb * slope_a - ab * slope_b, aa * slope_b - ab * slope_a], 1) / determinant[:, None]
        step = np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        coefficients += step
        if np.abs(step).max() < ENOUGH:
            break
    return coefficients


def _at_zero(coefficients: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-coefficients[:, 0])))


def _withheld(why: str) -> LengthControlled:
    return LengthControlled(np.nan, (np.nan, np.nan), why)
