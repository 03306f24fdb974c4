"""How often 95% intervals over prompts hold the truth, by figure, shape of reward and number of prompts.

Prints the tables of docs/metrics.md: python benchmarks/coverage.py [--trials 4000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from alignpro.maths import stats
from alignpro.maths.shares import share_difference, share_interval
from alignpro.maths.stats import Interval
from alignpro.maths.variance_intervals import variance_intervals
from alignpro.types import FloatArray

PROMPTS, RESPONSES, MANY = (5, 10, 20, 50, 200), 4, 500_000
FIGURES = ("mean", "difference", "variance", "between", "within", "win rate", "share", "difference of shares")

World = tuple[FloatArray, FloatArray]
"""Rewards [B, K] of two arms on the same prompts: what makes a prompt hard is common to both, and the first arm's gain
is of the shape too."""


def _world(
    rng: np.random.Generator, prompts: int, part: Callable[[tuple[int, int]], FloatArray], noise: float
) -> World:
    common, gain = part((prompts, 1)), part((prompts, 1))
    loud = [np.sqrt(rng.exponential(size=(prompts, 1))) if noise else 1.0 for _ in range(2)]
    a, b = (scale * rng.normal(size=(prompts, RESPONSES)) for scale in loud)
    return common + gain + a, common + b


def normal(rng: np.random.Generator, prompts: int) -> World:
    return _world(rng, prompts, lambda shape: 1 + rng.normal(size=shape), 0)


def skewed(rng: np.random.Generator, prompts: int) -> World:
    """Exponential parts, and noise of exponential variance."""
    return _world(rng, prompts, lambda shape: rng.exponential(size=shape), 1)


def heavy(rng: np.random.Generator, prompts: int) -> World:
    """Double exponential parts, and noise of exponential variance."""
    return _world(rng, prompts, lambda shape: 1 + rng.laplace(size=shape) / np.sqrt(2), 1)


def grades(rng: np.random.Generator, prompts: int) -> World:
    """0, 1, 2, 3 or 4: more than half of the first arm's are the highest."""
    chances = rng.beta(2, 0.6, (prompts, 1)), rng.beta(1, 1, (prompts, 1))
    a, b = (rng.binomial(4, chance, (prompts, RESPONSES)).astype(np.float64) for chance in chances)
    return a, b


def points(a: FloatArray, b: FloatArray) -> FloatArray:
    """What each comparison is worth to the first arm [B, K]."""
    return np.asarray(np.heaviside(a - b, 0.5))


def right(rewards: FloatArray) -> FloatArray:
    """Answers that are right (1) or wrong (0) [B, K]."""
    return np.asarray((rewards > 0.5).astype(np.float64))


def truths(draw: Callable[[np.random.Generator, int], World]) -> list[float]:
    a, b = draw(np.random.default_rng(1), MANY)
    parts, won = stats.variance(a), points(a, b)
    return [
        *(a.mean(), (a - b).mean(), parts.total, parts.between, parts.within),
        *(won.mean(), right(a).mean(), (right(a) - right(b)).mean()),
    ]


def intervals(a: FloatArray, b: FloatArray) -> Iterator[Interval]:
    yield stats.mean_interval(stats.prompt_means(a))
    yield stats.paired_difference(a, b)[1]
    parts = variance_intervals(a)
    yield from (parts.total, parts.between, parts.within)
    yield share_interval(points(a, b))
    yield share_interval(right(a))
    yield share_difference(right(a), right(b))[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    widths = []
    print(f"| rewards | prompts | {' | '.join(FIGURES)} |\n|{' --- |' * (len(FIGURES) + 2)}")
    for draw in (normal, skewed, heavy, grades):
        truth, beside = np.array(truths(draw)), []
        for prompts in PROMPTS:
            rng, found, plain = np.random.default_rng(prompts), [], []
            for _ in range(trials):
                a, b = draw(rng, prompts)
                found.append(list(intervals(a, b)))
                plain.append(np.ptp(stats.t_interval(stats.prompt_means(a).tolist())))
            low, high = np.moveaxis(np.array(found), 2, 0)  # [trials, figures]
            told = ~np.isnan(low)
            held = ((low <= truth) & (truth <= high)).sum(0) / told.sum(0)
            cells = [
                f"{share:.1%}" + (f" ({1 - had:.1%} none)" if had < 1 else "")
                for share, had in zip(held, told.mean(0), strict=True)
            ]
            print(f"| {draw.__name__} | {prompts} | {' | '.join(cells)} |", flush=True)
            beside.append(f"{np.nanmedian((high - low)[:, 0] / plain):.2f}")
        widths.append(f"| {draw.__name__} | {' | '.join(beside)} |")
    print(f"\n| rewards | {' | '.join(map(str, PROMPTS))} |\n|{' --- |' * (len(PROMPTS) + 1)}")
    print("\n".join(widths))


if __name__ == "__main__":
    main()
