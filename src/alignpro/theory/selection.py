"""The best a prompter can do for its KL, and what selecting among N draws reaches without training: (B6), (B7)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.errors import UsageError
from alignpro.maths import discrete
from alignpro.theory.tabular import World
from alignpro.types import FloatArray

_STEP = 0.25  # of the quadrature: its error falls as exp(-pi^2 / step), below float64's
_ENDS = 40.0  # e-folds beyond which the integrand is nothing to float64


@dataclass(frozen=True, slots=True)
class Frontier:
    """Points of the optimal reward-KL frontier (B6), all [L]: lam, E_x KL(rho* || rho_sft) in nats, mean reward."""

    lam: FloatArray
    kl: FloatArray
    reward: FloatArray


def frontier(world: World, lams: npt.ArrayLike) -> Frontier:
    """The frontier (B6) at each of `lams` [L]; no prompter has more reward for its KL, and d reward / d KL = lam."""
    grid = np.atleast_1d(np.asarray(lams, dtype=np.float64))
    best = [world.log_optimum_at(float(lam)) for lam in grid]
    kl = np.array([world.kl_to_reference(log_rho) for log_rho in best])
    return Frontier(grid, kl, np.array([world.prompter_reward(log_rho) for log_rho in best]))


def best_of_n(world: World, n: int) -> FloatArray:
    """log-probabilities [X, R] of the best by R(x, x') of N draws from rho_sft, (B7), exactly.

    The best level is reached with F^N - F_below^N, F the reference's distribution of R. Draws that tie for best are
    as likely each, so rewrites of one level share in proportion to rho_sft. Rewards within rounding of each other
    tie: R is a sum, and the same sum can come out one digit apart.
    """
    _check(n)
    rewards = world.rewards_of_rewrites
    order = np.argsort(rewards, axis=1, kind="stable")
    sorted_rewards = np.take_along_axis(rewards, order, 1)
    log_reference = np.take_along_axis(world.log_reference, order, 1)
    cumulative = np.logaddexp.accumulate(log_reference, axis=1)
    cumulative -= cumulative[:, -1:]
    upper, lower = _levels(sorted_rewards, cumulative, 1e-12 * max(1.0, float(np.abs(world.reward).max())))
    # (F^N - F_below^N) / (F - F_below) = F^(N-1) (1 - e^(N d)) / (1 - e^d), with d = log(F_below / F) <= 0.
    with np.errstate(divide="ignore", invalid="ignore"):
        d = lower - upper
        ratio = np.where(d == 0, math.log(n), np.log(np.expm1(n * d) / np.expm1(d)))
        selected = log_reference + (n - 1) * upper + ratio
    selected = np.where(log_reference == -np.inf, -np.inf, selected)
    in_place = np.empty_like(selected)
    np.put_along_axis(in_place, order, selected, 1)
    return in_place


def best_of_n_bound(n: int) -> float:
    """log N - (N-1)/N nats, (B7): the KL of best-of-N from its reference at most; less when draws can tie."""
    _check(n)
    return math.log(n) - (n - 1) / n


def gibbs_n(world: World, n: int) -> FloatArray:
    """log-probabilities [X, R] of one of N draws from rho_sft, chosen in proportion to exp(R / lam), (B7).

    With w = exp(R / lam) the chance of x' is N rho_sft w E[1 / (w + sum of N-1 other w)]. As 1/s is the integral of
    e^(-ts) over t, that is the integral of N rho_sft w e^(-tw) phi(t)^(N-1) with phi(t) = E e^(-tw): one dimension
    whatever N. The trapezoidal rule in log t is exact to float64. Time grows with X R max (span of R) / lam.
    """
    _check(n)
    rows = zip(world.rewards_of_rewrites / world.lam, world.log_reference, strict=True)
    return np.stack([_select(scores, log_reference, n) for scores, log_reference in rows])


def _select(scores: FloatArray, log_reference: FloatArray, n: int) -> FloatArray:
    log_probabilities = np.full(len(scores), -np.inf)
    possible = np.flatnonzero(log_reference > -np.inf)
    log_w = scores[possible] - scores[possible].max()
    log_t = np.arange(-_ENDS - math.log(n), math.log(_ENDS) - log_w.min(), _STEP)
    exponents = log_t[:, None] + log_w
    with np.errstate(over="ignore", divide="ignore"):
        decay = -np.exp(exponents)
        lost = np.maximum(np.expm1(decay) @ np.exp(log_reference[possible]), -1)
        # phi is raised to the power N - 1: near 1 its log must come from what it lacks.
        log_phi = np.where(lost > -0.5, np.log1p(lost), discrete.logsumexp(log_reference[possible] + decay))
    inside = log_reference[possible] + decay + exponents + (n - 1) * log_phi[:, None]
    log_probabilities[possible] = discrete.logsumexp(inside.T) + math.log(n * _STEP)
    return log_probabilities


def _levels(rewards: FloatArray, cumulative: FloatArray, rounding: float) -> tuple[FloatArray, FloatArray]:
    """log F at each entry's level of reward, and just below it; both inputs [X, R], rewards ascending."""
    rows, columns = rewards.shape
    place = np.arange(columns)
    starts = np.ones((rows, columns), dtype=bool)
    starts[:, 1:] = np.diff(rewards, axis=1) > rounding
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    ends = np.ones((rows, columns), dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, columns)[:, ::-1], axis=1)[:, ::-1]
    below = np.concatenate([np.full((rows, 1), -np.inf), cumulative], axis=1)
    return np.take_along_axis(cumulative, last, 1), np.take_along_axis(below, first, 1)


def _check(n: int) -> None:
    if n < 1:
        raise UsageError(f"n is {n}; selecting needs at least one draw")
