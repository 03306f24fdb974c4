"""How good a reward model's preferences are: shares, reliability and temperature over clustered pairs.

Arrays are [N] over pairs; `cluster` [N] numbers each pair's prompt, and intervals resample prompts (E5). `margins` are
r(x, y_w) - r(x, y_l), so that Bradley-Terry gives the winner sigmoid(margin). Undefined figures are nan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.maths import stats
from alignpro.maths.shares import pooled_share
from alignpro.maths.stats import TOO_FEW, Interval, Withheld, bootstrap
from alignpro.types import FloatArray

Clusters = npt.NDArray[np.int64]
TEMPERATURES = np.geomspace(1e-2, 1e2, 801)
"""Where a temperature is looked for; one that lies at an end is not told."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs of like confidence: its range, its mean, the share of them that the model got right, with its interval."""

    low: float
    high: float
    confidence: float
    accuracy: float
    ci95: Interval
    pairs: int


def right(margins: FloatArray) -> FloatArray:
    """1 where the winner scores higher, 1/2 for a tie, 0 where lower. [N]"""
    return np.asarray(np.heaviside(margins, 0.5))


def log_loss(margins: FloatArray) -> FloatArray:
    """-log sigmoid(margin), (1), in nats. [N]"""
    return np.asarray(np.logaddexp(0.0, -margins))


def share(points: FloatArray, cluster: Clusters) -> tuple[float, Interval]:
    """Mean over pairs of points from 0 to 1, and its interval over prompts, which may have unlike numbers of pairs."""
    return pooled_share(*stats.sums_over_prompts(points, cluster))


def weighted(values: FloatArray, weights: FloatArray, cluster: Clusters) -> tuple[float, Interval]:
    """Sum of values over sum of weights, nats over tokens say, and its interval over prompts."""
    return stats.ratio(stats.sums_over_prompts(values, cluster)[0], stats.sums_over_prompts(weights, cluster)[0])


def correlation(a: FloatArray, b: FloatArray, cluster: Clusters, draws: int, seed: int) -> tuple[float, Interval]:
    """Pearson's correlation and its interval over prompts; nan where either does not vary."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return (np.nan, (np.nan, np.nan))
    _, place = np.unique(cluster, return_inverse=True)
    u, v = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
    moments = np.stack([np.bincount(place, w) for w in (np.ones(len(u)), u, v, u * u, v * v, u * v)])

    def of(index: npt.NDArray[np.int64]) -> FloatArray:
        n, su, sv, suu, svv, suv = moments[:, index].sum(-1)
        spread = (n * suu - su**2) * (n * svv - sv**2)
        varies = spread > 1e-12 * n**4  # a resample of few prompts may hold one value alone
        return np.asarray(np.where(varies, n * suv - su * sv, np.nan) / np.sqrt(np.where(varies, spread, 1.0)))

    return float((u * v).mean()), bootstrap(of, moments.shape[1], draws, seed)


def reliability(margins: FloatArray, cluster: Clusters, bins: int = 10) -> list[Bin]:
    """Confidence sigmoid(|margin|) against the share that is right, in bins of like size, at least 20 pairs each."""
    confidence, correct = _confidence(margins), right(margins)
    measured = []
    for rows in _bins(confidence, bins):
        accuracy, ci95 = share(correct[rows], cluster[rows])
        mine = confidence[rows]
        measured.append(Bin(float(mine.min()), float(mine.max()), float(mine.mean()), accuracy, ci95, len(rows)))
    return measured


def calibration_error(
    margins: FloatArray, cluster: Clusters, draws: int, seed: int, bins: int = 10
) -> tuple[float, Interval, float]:
    """Expected calibration error: the mean distance of accuracy from confidence over the bins, by their sizes.

    Returns it, its interval over prompts, and what a perfectly calibrated model of these confidences would have on
    average with as many pairs: the error is never 0 by chance, and this says how far from 0 chance puts it.
    """
    if not len(margins):
        return (np.nan, (np.nan, np.nan), np.nan)
    confidence, correct = _confidence(margins), right(margins)
    _, place = np.unique(cluster, return_inverse=True)
    tables = []
    for rows in _bins(confidence, bins):
        tables.append(np.bincount(place[rows], correct[rows] - confidence[rows], minlength=place.max() + 1))
    gaps = np.stack(tables)
    counts = np.bincount(place).astype(np.float64)
    luck = np.random.default_rng(seed).random((200, len(confidence))) < confidence
    by_chance = sum(np.abs((luck[:, rows] - confidence[rows]).sum(1)) for rows in _bins(confidence, bins))
    error = float(np.abs(gaps.sum(1)).sum() / len(margins))

    def of(index: npt.NDArray[np.int64]) -> FloatArray:
        total = np.zeros(len(index))
        for gap in gaps:
            total += np.abs(gap[index].sum(1))
        return np.asarray(total / counts[index].sum(1))

    return error, bootstrap(of, len(counts), draws, seed), float(np.mean(by_chance) / len(margins))


def temperature(margins: FloatArray, cluster: Clusters, draws: int, seed: int) -> tuple[float, Interval]:
    """T that makes the preferences sigmoid(margin / T) likeliest, and its interval over prompts.

    1 is calibrated, above 1 the model is too sure. nan where no T of `TEMPERATURES` is likeliest: every pair is won, or
    half or fewer.
    """
    if not len(margins):
        return (np.nan, (np.nan, np.nan))
    _, place = np.unique(cluster, return_inverse=True)
    losses = np.stack([np.bincount(place, log_loss(margins / t)) for t in TEMPERATURES])  # [temperatures, prompts]
    own = float(_lowest(losses.sum(1)[:, None])[0])
    prompts = losses.shape[1]
    if prompts < stats.FEWEST or np.isnan(own):
        return own, Withheld(TOO_FEW) if prompts < stats.FEWEST else (np.nan, np.nan)
    index = np.random.default_rng(seed).integers(0, prompts, (draws, prompts))
    weights = np.stack([np.bincount(row, minlength=prompts) for row in index]).astype(np.float64)
    values = _lowest(losses @ weights.T, keep_ends=True)
    interval = stats.percentiles(values, prompts)
    if interval[0] <= TEMPERATURES[0] or interval[1] >= TEMPERATURES[-1]:
        return own, Withheld("too few pairs to bound it")
    return own, interval


def _confidence(margins: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-np.abs(margins))))


def _bins(confidence: FloatArray, bins: int) -> list[npt.NDArray[np.int64]]:
    count = max(1, min(bins, len(confidence) // 20))
    order = np.argsort(confidence, kind="stable")
    return [np.asarray(rows) for rows in np.array_split(order, count) if len(rows)]


def _lowest(losses: FloatArray, keep_ends: bool = False) -> FloatArray:
    """The temperature of the least loss in each column [temperatures, M]; nan, or the end itself, at an end."""
    best = losses.argmin(0)
    at_end = (best == 0) | (best == len(TEMPERATURES) - 1)
    temperature = TEMPERATURES[best]
    return np.asarray(temperature if keep_ends else np.where(at_end, np.nan, temperature))
