"""What reward.json says of a learned reward on held-out preferences: accuracy, calibration, length, by strength."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from alignpro.data.preferences import Preference
from alignpro.data.records import normalised
from alignpro.maths import calibration, lengths, stats
from alignpro.maths.calibration import Clusters
from alignpro.maths.rounding import difference
from alignpro.results import Calibration, CalibrationError, Estimate, LengthBias, OfConfidence, OfStrength, Scores
from alignpro.rng import derive
from alignpro.types import FloatArray, Response, Reward

STRENGTHS = 5
"""Most different strengths that are groups of their own; more are cut into thirds."""


def scores(reward: Reward, pairs: Sequence[Preference]) -> FloatArray:
    """Scores [N, 2] of the chosen and of the rejected answers to x."""
    asked = [pair.prompt for pair in pairs]
    answers = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    return np.asarray(reward.score(asked * 2, [Response(text) for text in answers]).values.reshape(2, -1).T)


def clusters(pairs: Sequence[Preference]) -> Clusters:
    """The number of each pair's prompt. [N]"""
    place: dict[str, int] = {}
    return np.array([place.setdefault(normalised(pair.prompt.text), len(place)) for pair in pairs], dtype=np.int64)


def accuracy(values: FloatArray, pairs: Sequence[Preference]) -> dict[str, Any]:
    """Share of pairs whose chosen answer scores higher, a tie counting half, and (1) in nats."""
    margins, cluster = difference(values[:, 0], values[:, 1]), clusters(pairs)
    scored = np.isfinite(margins)
    right = Estimate.of(*calibration.share(calibration.right(margins[scored]), cluster[scored]))
    loss = Estimate.of(*stats.pooled(calibration.log_loss(margins[scored]), cluster[scored]))
    return {"accuracy": right, "log_loss": loss, "unscored": int((~scored).sum())}


def figures(values: FloatArray, pairs: Sequence[Preference], draws: int, seed: int) -> dict[str, Any]:
    """Fields of LearnedReward from scores [N, 2]; pairs without a score are counted and left out."""
    margins = difference(values[:, 0], values[:, 1])
    kept = np.flatnonzero(np.isfinite(margins))
    scored, margins, cluster = [pairs[i] for i in kept.tolist()], margins[kept], clusters(pairs)[kept]
    words = np.array([[lengths.words(p.chosen), lengths.words(p.rejected)] for p in scored], dtype=np.float64)
    words = words.reshape(-1, 2)
    longer_by = words[:, 0] - words[:, 1]
    longer, right = calibration.right(longer_by), calibration.right(margins)
    error, ci95, by_chance = calibration.calibration_error(margins, cluster, draws, derive(seed, "calibration"))
    bins = calibration.reliability(margins, cluster) if len(kept) else []

    def share(of: FloatArray) -> Estimate:
        return Estimate.of(*calibration.share(of, cluster))

    return {
        **accuracy(values, pairs),
        "longer_wins": share(longer),
        "over_longer": Estimate.of(*stats.pooled(right - longer, cluster)),
        "by_strength": _by_strength(right, scored, cluster),
        "calibration": Calibration(
            bins=tuple(OfConfidence.model_validate(asdict(found)) for found in bins),
            error=CalibrationError(error=Estimate.of(error, ci95), if_calibrated=by_chance),
            temperature=Estimate.of(*calibration.temperature(margins, cluster, draws, derive(seed, "temperature"))),
        ),
        "length": LengthBias(
            score=Estimate.of(
                *calibration.correlation(values[kept].ravel(), words.ravel(), np.repeat(cluster, 2), draws, seed)
            ),
            difference=Estimate.of(*calibration.correlation(margins, longer_by, cluster, draws, seed)),
            longer_chosen_by_model=share(calibration.right(margins * longer_by)),
        ),
        "scores": Scores(mean=float(np.mean(values[kept])), deviation=float(np.std(values[kept])))
        if len(kept)
        else Scores(),
    }


def _by_strength(right: FloatArray, pairs: Sequence[Preference], cluster: Clusters) -> list[OfStrength]:
    """Accuracy by how much higher the data scores the chosen answer; empty where it gives no scores."""
    strengths = np.array([np.nan if pair.margin is None else pair.margin for pair in pairs], dtype=np.float64)
    present = np.unique(strengths[np.isfinite(strengths)])
    if not len(present):
        return []
    if len(present) <= STRENGTHS:
        edges = [(value, value) for value in present]
    else:
        low, high = np.quantile(strengths[np.isfinite(strengths)], [1 / 3, 2 / 3])
        parts = [present[present <= low], present[(present > low) & (present <= high)], present[present > high]]
        edges = [(part[0], part[-1]) for part in parts if len(part)]
    found = []
    for low, high in edges:
        rows = (strengths >= low) & (strengths <= high)
        told = Estimate.of(*calibration.share(right[rows], cluster[rows]))
        found.append(OfStrength(low=float(low), high=float(high), pairs=int(rows.sum()), accuracy=told))
    return found
