"""Win rates at equal length: how often would the first answer win, were it as long as the second?

A logistic model of the verdict on the difference in length, read at a difference of 0:

    P(win) = 1 / (1 + exp(-(a + b d / s))),   d the difference in length, s its standard deviation,

a tie being half a win. The slope b has a prior of N(0, 5^2), which is all but nothing beside tens of prompts and keeps
the fit finite where length alone tells wins from losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.maths.shares import effective_size, exact
from alignpro.types import FloatArray

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


def length_controlled(points: FloatArray, differences: FloatArray, prompts: npt.NDArray[np.int64]) -> LengthControlled:
    """From N comparisons: `points` [N] are 1, 0.5 or 0, `differences` [N] in length, `prompts` [N] say which prompt.

    Every prompt has the same weight, however many comparisons it has. The interval is the exact one of a share, at the
    size that gives the fit's spread over prompts; far from a length of 0 it is wider. Comparisons
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
    rate, added = _fit(y, z, shares)
    influence = np.bincount(which, added) * (which.max() + 1)
    centre = float(np.average(z, weights=shares))
    away = 1 + centre**2 / float(np.average((z - centre) ** 2, weights=shares))
    size = effective_size(influence, rate * (1 - rate), 0.0, away, math.inf)
    return LengthControlled(rate, exact(rate, size))


def _fit(y: FloatArray, z: FloatArray, weights: FloatArray) -> tuple[float, FloatArray]:
    """The chance of a win at z = 0 where y [N] is fitted on z [N] under weights [N], by Newton's method, and what each
    comparison adds to it, to first order [N]."""
    coefficients = np.zeros(2)
    for _ in range(ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(coefficients[0] + coefficients[1] * z, -30, 30)))
        off, bend = weights * (y - p), weights * p * (1 - p)
        curvature = np.array([[bend.sum() + HOLD, bend @ z], [bend @ z, bend @ z**2 + PRIOR]])
        slope = np.array([off.sum(), off @ z]) - np.array([HOLD, PRIOR]) * coefficients
        step = np.clip(np.linalg.solve(curvature, slope), -LONGEST_STEP, LONGEST_STEP)
        coefficients += step
        if np.abs(step).max() < ENOUGH:
            break
    rate = float(1 / (1 + np.exp(-coefficients[0])))
    return rate, rate * (1 - rate) * (np.linalg.inv(curvature) @ np.stack([off, off * z]))[0]


def _withheld(why: str) -> LengthControlled:
    return LengthControlled(np.nan, (np.nan, np.nan), why)
