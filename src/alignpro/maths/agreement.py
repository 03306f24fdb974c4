"""Agreement of two raters on three verdicts, from a table of how often each pair of verdicts was given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alignpro.maths import stats
from alignpro.maths.shares import pooled_share
from alignpro.types import FloatArray, Verdict

VERDICTS: tuple[Verdict, ...] = ("a", "tie", "b")


def table(pairs: Sequence[tuple[Verdict, Verdict]]) -> FloatArray:
    """Counts [3, 3] of (one rater's verdict, the other's)."""
    counts = np.zeros((3, 3))
    for one, other in pairs:
        counts[VERDICTS.index(one), VERDICTS.index(other)] += 1
    return counts


def agreement(counts: FloatArray) -> FloatArray:
    """Share of verdicts that are the same, from counts [..., 3, 3]; nan where there are none."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1)))


def kappa(counts: FloatArray) -> FloatArray:
    """Cohen's kappa from counts [..., 3, 3]: agreement beyond what the raters' own shares would give by chance.

    nan where chance alone gives full agreement, as when both always say the same.
    """
    total = counts.sum((-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = (counts.sum(-1) * counts.sum(-2)).sum(-1) / total**2
        kappas = (agreement(counts) - chance) / (1 - chance)
    return np.asarray(np.where(chance < 1 - 1e-12, kappas, np.nan))


def intervals(counts: FloatArray, draws: int, seed: int) -> tuple[stats.Interval, stats.Interval]:
    """95% intervals of agreement, a share, and of kappa under resampling of clusters, from counts [C, 3, 3], one table
    each."""

    def resampled(index: npt.NDArray[np.int64]) -> FloatArray:
        times = np.stack([np.bincount(row, minlength=len(counts)) for row in index])
        return np.tensordot(times, counts, 1)

    return (
        pooled_share(np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2)))[1],
        stats.bootstrap(lambda index: kappa(resampled(index)), len(counts), draws, seed),
    )
