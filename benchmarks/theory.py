"""Solving a finite world of 1,000 prompts, rewrites and responses, against its bare arithmetic.

    python benchmarks/theory.py

Solving is everything from log-probabilities to both bounds: validation, (8), (4), (10), the gap, (11), (B5), (B3). The
limit is one bare float64 matrix product of that size, for (8), and one minimum for each of the 10^9 pairs of
probabilities that the total variations of (11) compare, in blocks that stay in the cache. Prints seconds and the ratio
as median [min, max] over alternating runs after a warm-up; on one thread (OMP_NUM_THREADS=1) like stands by like.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from alignpro.theory import bounds
from alignpro.theory.examples import random_world
from alignpro.theory.tabular import World
from alignpro.types import FloatArray

SIZE, RUNS, BLOCK = 1000, 7, 64


def solve(world: World) -> None:
    fresh = replace(world)  # validated again, nothing cached
    fresh.gap(fresh.log_optimum)
    bounds.theorem(fresh), bounds.sharper(fresh), bounds.exact(fresh)


def product(a: FloatArray, b: FloatArray) -> None:
    np.matmul(a, b)


def minima(a: FloatArray, b: FloatArray) -> None:
    smaller = np.empty((BLOCK, SIZE))
    for row in a:
        for start in range(0, SIZE, BLOCK):
            block = b[start : start + BLOCK]
            np.minimum(block, row, out=smaller[: len(block)])


def seconds(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main() -> None:
    world = random_world(0, SIZE, SIZE, SIZE, beta=1.0, lam=0.1)
    raw, frozen = np.exp(world.log_frozen_raw), np.exp(world.log_frozen)
    tasks: dict[str, Callable[[], None]] = {
        "solve": lambda: solve(world),
        "matrix product": lambda: product(raw, frozen),
        "minima": lambda: minima(raw, frozen),
    }
    for run in tasks.values():
        run()
    times = [{name: seconds(run) for name, run in tasks.items()} for _ in range(RUNS)]
    for name in tasks:
        show(f"{name}, seconds", [t[name] for t in times])
    show("solve / (matrix product + minima)", [t["solve"] / (t["matrix product"] + t["minima"]) for t in times])


def show(name: str, values: list[float]) -> None:
    print(f"{name}: {statistics.median(values):.3f} [{min(values):.3f}, {max(values):.3f}]")


if __name__ == "__main__":
    main()
