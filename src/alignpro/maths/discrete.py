"""Discrete distributions as log-probabilities along the last axis: float64, nats, -inf for probability 0."""

from __future__ import annotations

import numpy as np

from alignpro.types import FloatArray

_BLOCK = 2**16  # numbers worked on at a time, half a mebibyte: they stay in a core's cache
_FAINT = -650.0  # below this, products of probabilities begin to fall out of float64


def logsumexp(scores: FloatArray) -> FloatArray:
    """log of the sum of exp over the last axis [...]; -inf for a row of -inf."""
    top = scores.max(-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(scores - top).sum(-1)) + top[..., 0])


def kl(log_p: FloatArray, log_q: FloatArray) -> FloatArray:
    """KL(p || q) [...] in nats, inf exactly where p has an outcome that q lacks.

    Sums p log(p/q) - p + q, which no term makes negative and which keeps its digits where p and q nearly agree.
    """
    p, q = np.exp(log_p), np.exp(log_q)
    with np.errstate(invalid="ignore", over="ignore"):
        ratio = log_p - log_q
        terms = np.where(np.abs(ratio) < 1, p * (ratio + np.expm1(-ratio)), p * ratio + (q - p))
    # By the logs, since a probability that underflows to 0 is not impossible.
    terms = np.where(log_p == -np.inf, q, np.where(log_q == -np.inf, np.inf, terms))
    return np.asarray(terms.sum(-1))


def jeffreys(log_p: FloatArray, log_q: FloatArray) -> FloatArray:
    """KL(p || q) + KL(q || p) [...] in nats, inf exactly where the two differ in what is possible."""
    with np.errstate(invalid="ignore"):
        terms = (np.exp(log_p) - np.exp(log_q)) * (log_p - log_q)
    apart = np.isinf(log_p) != np.isinf(log_q)
    return np.asarray(np.where(apart, np.inf, np.where(np.isinf(log_p), 0.0, terms)).sum(-1))


def total_variation(log_p: FloatArray, log_q: FloatArray) -> FloatArray:
    """Half the L1 distance [...], between 0 and 1."""
    return np.asarray(0.5 * np.abs(np.exp(log_p) - np.exp(log_q)).sum(-1))


def mean_total_variation(log_p: FloatArray, log_q: FloatArray, weights: FloatArray) -> FloatArray:
    """sum_j weights[i, j] TV(p_i, q_j) [I], for rows log_p [I, Y], log_q [J, Y] and weights [I, J].

    TV = 1 - sum min(p, q) takes fewer passes over memory than the L1 distance; blocks of J keep it in the cache.
    """
    p, q = np.exp(log_p), np.exp(log_q)
    step = max(1, _BLOCK // q.shape[1])
    smaller = np.empty((min(step, len(q)), q.shape[1]))
    ones = np.ones(q.shape[1])
    shared = np.empty(len(q))
    distances = np.empty(len(p))
    for i, row in enumerate(p):
        for start in range(0, len(q), step):
            block = q[start : start + step]
            np.minimum(block, row, out=smaller[: len(block)])
            np.matmul(smaller[: len(block)], ones, out=shared[start : start + step])
        distances[i] = weights[i] @ np.maximum(1 - shared, 0)
    return distances


def log_matmul(log_a: FloatArray, log_b: FloatArray) -> FloatArray:
    """log of exp(log_a) @ exp(log_b) [I, K] for [I, J] and [J, K]; -inf only where every product is 0."""
    with np.errstate(divide="ignore"):
        log_product = np.log(np.exp(log_a) @ np.exp(log_b))
    faint = log_product < _FAINT
    if faint.any():  # truly 0, or lost to underflow: the latter is worth summing in log space
        possible = (np.isfinite(log_a).astype(float) @ np.isfinite(log_b).astype(float)) > 0
        for i in np.flatnonzero((faint & possible).any(1)):
            columns = np.flatnonzero(faint[i] & possible[i])
            log_product[i, columns] = logsumexp(log_a[i] + log_b[:, columns].T)
    return np.asarray(log_product)
