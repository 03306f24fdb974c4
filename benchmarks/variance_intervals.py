"""How often intervals of a variance hold the truth, bootstrap-t beside percentiles: the table of docs/metrics.md.

python benchmarks/variance_intervals.py
"""

from __future__ import annotations

import numpy as np

from alignpro.maths import stats
from alignpro.maths.variance_intervals import variance_intervals
from alignpro.types import FloatArray

TRIALS, DRAWS, RESPONSES, TRUTH = 200, 200, 4, (2.0, 1.0, 1.0)


def normal(rng: np.random.Generator, prompts: int) -> FloatArray:
    return rng.normal(size=(prompts, 1)) + rng.normal(size=(prompts, RESPONSES))


def skewed(rng: np.random.Generator, prompts: int) -> FloatArray:
    noise = np.sqrt(rng.exponential(size=(prompts, 1)))
    return rng.exponential(size=(prompts, 1)) + noise * rng.normal(size=(prompts, RESPONSES))


def percentiles(rewards: FloatArray, seed: int) -> list[stats.Interval]:
    """Total, between and within, by percentiles of resampled prompts."""
    index = np.random.default_rng(seed).integers(0, len(rewards), (DRAWS, len(rewards)))
    found = [stats.variance(rewards[row]) for row in index]
    drawn = np.array([[one.total, one.between, one.within] for one in found])
    return [(float(low), float(high)) for low, high in np.nanquantile(drawn, [0.025, 0.975], axis=0).T]


print("| rewards | prompts | total | between | within | total, between, within by percentiles |")
print("| --- | --- | --- | --- | --- | --- |")
for draw in (normal, skewed):
    for prompts in (12, 30, 100):
        rng, hits = np.random.default_rng(0), np.zeros((2, 3))
        for trial in range(TRIALS):
            rewards = draw(rng, prompts)
            own = variance_intervals(rewards, DRAWS, trial)
            for kind, told in enumerate(((own.total, own.between, own.within), percentiles(rewards, trial))):
                hits[kind] += [low <= truth <= high for (low, high), truth in zip(told, TRUTH, strict=True)]
        ours, theirs = (" | ".join(f"{share:.0%}" for share in row) for row in hits / TRIALS)
        print(f"| {draw.__name__} | {prompts} | {ours} | {theirs.replace(' | ', ', ')} |", flush=True)
