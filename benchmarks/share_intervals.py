"""How often intervals of shares and of their paired differences hold the truth, and how wide they are.

Prints the tables of docs/metrics.md: python benchmarks/share_intervals.py [--trials 4000]
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from scipy import stats as scipy_stats
from scipy.special import gammaln

from alignpro.maths.shares import share_difference, share_interval
from alignpro.maths.stats import Interval
from alignpro.types import FloatArray

SHARES = ((0.01,), (0.5,), (0.98,))
PAIRS = ((0.01, 0.01), (0.05, 0.01), (0.5, 0.5), (0.7, 0.5), (0.98, 0.98), (0.98, 0.9))
PROMPTS = (30, 300)
WITHIN = ((1, 0.3), (1, 0.8), (4, 0.02), (4, 0.3), (4, 0.8))
"""Answers to a prompt, and the correlation of two of them."""
BETWEEN = 0.7
"""Correlation of the arms' normal scores: a prompt that is hard for one is hard for the other."""
SCORES = np.linspace(-6, 6, 4001)


@lru_cache
def chances(share: float, within: float) -> FloatArray:
    """Chance of a right answer at each of SCORES; over prompts it has a beta distribution."""
    a, b = share * (1 - within) / within, (1 - share) * (1 - within) / within
    return np.asarray(scipy_stats.beta.ppf(scipy_stats.norm.cdf(SCORES), a, b))


def answers(rng: np.random.Generator, share: float, within: float, score: FloatArray, count: int) -> FloatArray:
    """Right (1) and wrong (0) answers [B, K] to prompts of normal scores [B]."""
    chance = np.interp(score, SCORES, chances(share, within))
    return (rng.random((len(score), count)) < chance[:, None]).astype(float)


def measured(trials: int, truth: float, draw: Callable[[], Interval]) -> str:
    """Coverage of intervals drawn, and their mean width."""
    bounds = np.array([draw() for _ in range(trials)])
    held = (bounds[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= bounds[:, 1])
    return f"{held.mean():.1%} ({np.ptp(bounds, axis=1).mean():.3f})"


def exact_differences(n: int, ups: FloatArray, downs: FloatArray) -> list[Interval]:
    """Exact unconditional intervals for outcomes `ups`, `downs` of n pairs: every difference that no value of the share
    that differs makes less likely than 5%, outcomes ordered by Tango's statistic."""
    grid = np.linspace(-1, 1, 2001)
    inside = np.zeros((len(grid), len(ups)), bool)
    left = n - ups - downs
    ways = gammaln(n + 1) - gammaln(ups + 1) - gammaln(downs + 1) - gammaln(left + 1)
    for place, wanted in enumerate(grid):
        linear = -ups - downs + (2 * n - ups + downs) * wanted
        root = np.sqrt(np.maximum(0, linear**2 + 8 * n * downs * wanted * (1 - wanted)))
        spread = n * ((root - linear) / (2 * n) + wanted * (1 - wanted))
        statistic = np.round(np.abs(ups - downs - n * wanted) / np.sqrt(np.maximum(spread, 1e-12)), 9)
        order = np.argsort(-statistic)
        last = np.searchsorted(-statistic[order], -statistic[order], side="right") - 1
        down = np.linspace(0, 1, 60)[:, None] ** 2 * (1 - abs(wanted)) / 2 + max(-wanted, 0.0)
        up, same, down = (np.log(np.maximum(p, 1e-300)) for p in (down + wanted, 1 - wanted - 2 * down, down))
        chance = np.exp(ways + ups * up + downs * down + left * same)
        inside[place, order] = chance[:, order].cumsum(1)[:, last].max(0) > 0.05
    return [(float(grid[held].min()), float(grid[held].max())) for held in inside.T]


def widest_beside_exact(n: int) -> tuple[float, float]:
    """Most that a paired difference's interval measures beside the exact one, of all outcomes of n pairs; the mean."""
    ups, downs = (side.ravel().astype(float) for side in np.mgrid[: n + 1, : n + 1])
    possible = ups + downs <= n
    ups, downs = ups[possible], downs[possible]
    ratios = []
    for up, down, (low, high) in zip(ups, downs, exact_differences(n, ups, downs), strict=True):
        a = np.arange(n) < up
        b = (np.arange(n) >= up) & (np.arange(n) < up + down)
        own = share_difference(a[:, None].astype(float), b[:, None].astype(float))[1]
        ratios.append((own[1] - own[0]) / (high - low))
    return max(ratios), float(np.mean(ratios))


def drawn(rng: np.random.Generator, shares: tuple[float, ...], prompts: int, count: int, within: float) -> Interval:
    """The interval of one share, or of the difference of two whose arms answer the same prompts."""
    first = rng.normal(size=prompts)
    a = answers(rng, shares[0], within, first, count)
    if len(shares) == 1:
        return share_interval(a)
    second = BETWEEN * first + math.sqrt(1 - BETWEEN**2) * rng.normal(size=prompts)
    return share_difference(a, answers(rng, shares[1], within, second, count))[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=4000)
    trials, rng = parser.parse_args().trials, np.random.default_rng(0)
    heads = " | ".join(f"{count} answer{'s' * (count > 1)}, {within:g}" for count, within in WITHIN)
    for head, kinds in (("share", SHARES), ("shares", PAIRS)):
        print(f"| {head} | prompts | {heads} |\n|{' --- |' * (len(WITHIN) + 2)}")
        for shares, prompts in itertools.product(kinds, PROMPTS):
            truth = shares[0] - sum(shares[1:])
            cells = [measured(trials, truth, partial(drawn, rng, shares, prompts, *design)) for design in WITHIN]
            print(f"| {', '.join(map(str, shares))} | {prompts} | {' | '.join(cells)} |", flush=True)
        print()
    widest, mean = widest_beside_exact(30)
    print(f"paired differences beside exact intervals, all outcomes of 30 pairs: {widest:.2f} at most, mean {mean:.2f}")


if __name__ == "__main__":
    main()
