"""The closed form: Gibbs distributions over samples of the reference, (4) and (10). Log space, float64."""

from __future__ import annotations

import numpy as np

from alignpro.maths.discrete import logsumexp
from alignpro.types import FloatArray


def log_weights(rewards: FloatArray, lam: float, log_base: FloatArray | None = None) -> FloatArray:
    """Normalised log-weights over the last axis, proportional to base * exp(R / lam), (10).

    `rewards` [..., N] of N draws; `log_base` [..., N] is log(reference / proposal) of each draw, 0 for draws of the
    reference itself. A nan reward gets weight 0; a row of nothing else is nan.
    """
    scores = _tilted(rewards, lam, log_base)
    with np.errstate(invalid="ignore"):
        return np.asarray(scores - logsumexp(scores)[..., None])


def log_partition(rewards: FloatArray, lam: float, log_base: FloatArray | None = None) -> FloatArray:
    """log Z [...] of (10) from N draws: log mean of base * exp(R / lam). Units: nats. Biased down by Jensen,
    O(1/ESS)."""
    scores = _tilted(rewards, lam, log_base)
    count = np.isfinite(rewards).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(logsumexp(scores) - np.log(count))


def effective_sample_size(log_weight: FloatArray) -> FloatArray:
    """1 / sum of squared weights [...], between 1 and N, for normalised log-weights [..., N]."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(-logsumexp(2 * log_weight)))


def noise_correction(variance: FloatArray, responses: FloatArray | int, lam: float) -> FloatArray:
    """What to add to R / lam where R is a mean over K noisy rewards, (E1): -s^2 / (2 K lam^2).

    exp of a noisy mean is too large on average; for normal noise of variance s^2 a reward, this undoes it.
    """
    return np.asarray(-variance / (2 * responses * lam**2))


def _tilted(rewards: FloatArray, lam: float, log_base: FloatArray | None) -> FloatArray:
    if not lam > 0:
        raise ValueError(f"lam is {lam}, but the closed form needs lam > 0")
    scores = np.asarray(rewards, dtype=np.float64) / lam
    if log_base is not None:
        scores = scores + log_base
    return np.where(np.isnan(scores), -np.inf, scores)
