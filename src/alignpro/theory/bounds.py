"""The gap of the optimal prompter to RLHF, term by term: the bound (11), the sharper (B5), the identity (B3).

All three read (what fine-tuning gains) + (what paraphrasing costs) - (what optimising the prompter wins back).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignpro.maths import discrete
from alignpro.theory.tabular import World

MARCH = 1000
"""Steps after which `largest_lam` settles for what it has proved."""

_ROUNDING = 1e-14


@dataclass(frozen=True, slots=True)
class Terms:
    """Three terms, in units of reward; the last is what is taken off."""

    fine_tuning: float
    paraphrasing: float
    optimising: float

    @property
    def total(self) -> float:
        """fine_tuning + paraphrasing - optimising."""
        return self.fine_tuning + self.paraphrasing - self.optimising


def theorem(world: World) -> Terms:
    """The right side of (11), with the span max r - min r in place of r_max: never below gap(rho*).

    The terms are span * E_x TV(pi*, pi_F), span * E TV(pi_F(.|x), pi_F(.|x')) over x' ~ rho_sft, and
    lam * E_x KL(rho* || rho_sft).
    """
    fine_tuning, paraphrasing = _distances(world)
    return Terms(fine_tuning, paraphrasing, world.lam * world.kl_to_reference(world.log_optimum))


def sharper(world: World) -> Terms:
    """The sharper bound (B5): (11) with Jeffreys divergence for KL in the third term, which is then exact."""
    fine_tuning, paraphrasing = _distances(world)
    return Terms(fine_tuning, paraphrasing, world.lam * _jeffreys(world))


def exact(world: World) -> Terms:
    """The identity (B3), whose total is gap(rho*) and whose terms lie below those of (B5).

    beta * E_x Jf(pi*, pi_F); E_x[R(x, x) - E_{rho_sft} R(x, x')]; lam * E_x Jf(rho*, rho_sft).
    """
    fine_tuning = world.beta * world.over_prompts(discrete.jeffreys(world.log_rlhf, world.log_frozen_raw))
    return Terms(fine_tuning, world.d2(world.log_reference), world.lam * _jeffreys(world))


def kl_budget(world: World) -> float:
    """A / lam in nats, A the first two terms of (11): the KL that is enough to perform like RLHF."""
    return _budget(world) / world.lam


def largest_lam(world: World) -> float:
    """The largest lam such that the right side of (11) is non-negative on all of (0, lam]; inf if it always is.

    lam * B(lam), B = E_x KL(rho* || rho_sft), is 0 at both ends, so a lam beyond the first root can be good again.
    B falls as lam grows, hence lam' B(lam') <= A for all lam' from lam to A / B(lam): starting where B is largest
    and going to A / B again and again ends at the first root and can step over none. Beyond E_x[s^2] / (8 A), s the
    span of a prompt's R, no root is left (B <= s^2 / (8 lam^2), by Hoeffding's lemma). Should 1000 steps be too few,
    as where the right side touches 0 and turns, the lam returned is too small, never too large.
    """
    budget = _budget(world)
    spread = _Spread.of(world)
    if spread.greatest_kl == 0:
        return math.inf
    if budget == 0:
        return 0.0
    lam = budget / spread.greatest_kl
    for _ in range(MARCH):
        if lam * budget >= spread.square / 8:
            return math.inf
        onward = budget / world.kl_to_reference(world.log_optimum_at(lam))
        if onward <= lam * (1 + 1e-13):
            break
        lam = onward
    return lam


def smallest_lam(world: World) -> float:
    """The lam from which on the right side of (B5) is non-negative; 0 if it always is, inf if it never is.

    lam * E_x Jf(rho*, rho_sft) is what the optimal prompter gains over its reference, by (B2), and only falls as lam
    grows: one root at most, found by bisection and rounded up. It lies where the gain is known from both sides: at
    least the greatest gain less lam times the greatest KL, at most E_x[s^2] / (4 lam).
    """
    budget = _budget(world)
    spread = _Spread.of(world)
    if budget >= spread.greatest_gain:
        return 0.0
    if budget == 0:
        return math.inf
    low, high = (spread.greatest_gain - budget) / spread.greatest_kl, spread.square / (4 * budget)
    while high > low * (1 + 1e-13):
        middle = math.sqrt(low * high)
        if middle * _jeffreys(world, middle) <= budget:
            high = middle
        else:
            low = middle
    return high


@dataclass(frozen=True, slots=True)
class _Spread:
    """How far prompting can go: E_x of R's squared span, and gain and KL as lam falls to 0."""

    square: float
    greatest_gain: float
    greatest_kl: float

    @classmethod
    def of(cls, world: World) -> _Spread:
        possible = world.log_reference > -np.inf
        top = np.where(possible, world.rewards_of_rewrites, -np.inf).max(1)
        bottom = np.where(possible, world.rewards_of_rewrites, np.inf).min(1)
        best = possible & (world.rewards_of_rewrites == top[:, None])
        log_best = np.minimum(discrete.logsumexp(np.where(best, world.log_reference, -np.inf)), 0.0)
        below = np.where(possible, top[:, None] - world.rewards_of_rewrites, 0.0)
        gain = world.over_prompts((np.exp(world.log_reference) * below).sum(1))
        return cls(world.over_prompts((top - bottom) ** 2), gain, -world.over_prompts(log_best))


def _distances(world: World) -> tuple[float, float]:
    """span * the two mean total variations of (11)."""
    tuned = world.over_prompts(discrete.total_variation(world.log_rlhf, world.log_frozen_raw))
    return world.span * tuned, world.span * world.over_prompts(world.distances_under_reference)


def _budget(world: World) -> float:
    """A, the first two terms of (11); 0 where no more than rounding is left of it."""
    budget = sum(_distances(world))
    return budget if budget > _ROUNDING * world.span else 0.0


def _jeffreys(world: World, lam: float | None = None) -> float:
    log_optimum = world.log_optimum if lam is None else world.log_optimum_at(lam)
    return world.over_prompts(discrete.jeffreys(log_optimum, world.log_reference))
