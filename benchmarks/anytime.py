"""How often confidence sequences hold the mean at every look together, and how wide they are beside an interval for one
look alone. Prints the table of docs/ab.md: python benchmarks/anytime.py [--worlds 2000] [--looks 10000]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from alignpro.maths.confidence_sequences import LEAST, Bounds, asymptotic, bounded
from alignpro.types import FloatArray

Draw = Callable[[np.random.Generator, int], FloatArray]

BOUNDED: dict[str, tuple[Draw, float]] = {
    "thumbs, 50% up": (lambda rng, n: rng.binomial(1, 0.5, n).astype(float), 0.5),
    "thumbs, 2% up": (lambda rng, n: rng.binomial(1, 0.02, n).astype(float), 0.02),
    "scores, beta(8, 2)": (lambda rng, n: rng.beta(8, 2, n), 0.8),
}
UNBOUNDED: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: 3 + rng.normal(size=n), 3.0),
    "differences of exponentials": (lambda rng, n: rng.exponential(1, n) - rng.exponential(2, n), -1.0),
    "exponential": (lambda rng, n: rng.exponential(1, n), 1.0),
    "Student's t, 4 degrees": (lambda rng, n: rng.standard_t(4, n), 0.0),
}


def missed(bounds: Bounds, truth: float) -> bool:
    """Whether the truth lies outside at any look."""
    lower, upper = bounds
    return bool(((lower > truth) | (upper < truth)).any())


def single(values: FloatArray, least: int) -> Bounds:
    """At each look the interval that would hold at this look alone."""
    t = np.arange(1, len(values) + 1)
    mean = np.cumsum(values) / t
    half = 1.96 * np.sqrt(np.maximum(np.cumsum(values**2) / t - mean**2, 0) / t)
    half[: least - 1] = np.nan
    return mean - half, mean + half


def coverage(
    draw: Draw, truth: float, sequence: Callable[[FloatArray], Bounds], worlds: int, looks: int, seed: int = 0
) -> tuple[float, float, float]:
    """Shares of worlds in which the sequence, and the interval for one look, hold at all looks; and the mean width at
    the last look as a multiple of that interval's."""
    held, alone, widths = 0, 0, []
    for world in range(worlds):
        values = draw(np.random.default_rng((seed, world)), looks)
        ours, theirs = sequence(values), single(values, LEAST)
        held, alone = held + (not missed(ours, truth)), alone + (not missed(theirs, truth))
        widths.append((ours[1][-1] - ours[0][-1]) / max(theirs[1][-1] - theirs[0][-1], 1e-12))
    return held / worlds, alone / worlds, float(np.mean(widths))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=2000)
    parser.add_argument("--looks", type=int, default=10_000)
    asked = parser.parse_args()
    print(
        "| values | sequence | holds at every look | an interval for one look does | width at the last, as a multiple |"
    )
    print("|" + " --- |" * 5)
    kinds = ((BOUNDED, "bounded", lambda x: bounded(x, 0, 1)), (UNBOUNDED, "asymptotic", asymptotic))
    for worlds, kind, sequence in kinds:
        for name, (draw, truth) in worlds.items():
            held, alone, width = coverage(draw, truth, sequence, asked.worlds, asked.looks)
            print(f"| {name} | {kind} | {held:.1%} | {alone:.1%} | {width:.2f} |", flush=True)


if __name__ == "__main__":
    main()
