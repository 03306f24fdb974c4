"""What of choosing a template for each prompt can be learned from what is seen of the prompt: a ridge regression a
template, judged on prompts that it was not fitted to.

Scores are [P, J, R] as in `crossed`, features [P, F].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import regex

from alignpro.maths import crossed, lengths, rounding, stats
from alignpro.maths.crossed import Best, Told
from alignpro.types import FloatArray

PENALTIES = tuple(10 ** (power / 2) for power in range(-4, 5))
"""Of the ridge, beside the mean square of the features' length; an endless one, which is no policy, is always tried."""
_WORD = regex.compile(rf"{lengths.UNSPACED}|[[\p{{L}}\p{{M}}\p{{N}}]--{lengths.UNSPACED}]+", regex.V1)


@dataclass(frozen=True, slots=True)
class Policy:
    """The template of the highest predicted score: `level` [J], and `slopes` [F, J] on features less `centre` [F]."""

    level: FloatArray
    centre: FloatArray
    slopes: FloatArray

    def choose(self, features: FloatArray) -> npt.NDArray[np.int64]:
        """The template of each prompt [P], the first of equals."""
        return np.asarray((self.level + (features - self.centre) @ self.slopes).argmax(1))


def features(texts: Sequence[str], vectors: FloatArray | None = None) -> FloatArray:
    """What is seen of each prompt [P, F]: the logarithms of its words and characters, which words it has, and its
    vector [P, D] by a sentence encoder, where there is one.

    Words are those of two texts at least and not of all, without case. Lengths, words and vectors weigh alike: each has
    mean 0 and length 1 in the mean square over the texts, or is 0 where it is the same in all.
    """
    size = np.log1p([[lengths.words(text), lengths.characters(text)] for text in texts])
    held = [set(_WORD.findall(text.casefold())) for text in texts]
    common = sorted(word for word, n in Counter(word for words in held for word in words).items() if 1 < n < len(held))
    present = np.array([[float(word in words) for word in common] for words in held])
    blocks = [size, present] if vectors is None else [size, present, vectors]
    return np.hstack([_scaled(block) for block in blocks])


def _scaled(block: FloatArray) -> FloatArray:
    away = block - block.mean(0)
    length = np.sqrt((away**2).sum() / len(away))
    return np.asarray(away / length if length > stats.ROUNDING else 0 * away)


def fit(scores: FloatArray, features: FloatArray) -> Policy:
    """Ridge regressions of what a prompt's mean scores differ by from the templates' means and its own level, with the
    penalty for all templates that predicts best the prompts left out one by one.

    A cell without an answer says nothing. A template without any is never chosen.
    """
    means = stats.mean_over_responses(scores)
    there = np.isfinite(means)
    with np.errstate(invalid="ignore"):
        level = np.where(there, means, 0.0).sum(0) / there.sum(0)
    own = np.where(there, means - level, 0.0)
    own = np.where(there, own - own.sum(1, keepdims=True) / np.maximum(there.sum(1, keepdims=True), 1), 0.0)
    own -= own.mean(0)
    away = features - features.mean(0)
    values, vectors = np.linalg.eigh(away @ away.T)
    values, along = values.clip(min=0), vectors.T @ own
    shares = [0 * values]
    if (size := values.mean()) > stats.ROUNDING:
        shares += [values / (values + penalty * size) for penalty in PENALTIES]
    with np.errstate(invalid="ignore"):
        left_out = [
            (own - vectors @ (share[:, None] * along)) / (1 - 1 / len(own) - vectors**2 @ share)[:, None]
            for share in shares
        ]
    kept = int(np.argmin([(errors**2).sum() for errors in left_out]))
    weights = np.divide(shares[kept], values, out=0 * values, where=shares[kept] > 0)
    slopes = away.T @ (vectors @ (weights[:, None] * along))
    return Policy(np.where(np.isnan(level), -np.inf, level), features.mean(0), slopes)


def learned(scores: FloatArray, features: FloatArray, best: Best) -> Told:
    """What a policy gains over the best single template, both chosen on the other folds and judged on a prompt's own
    answers: unbiased for what is learned from four fifths of so many prompts, where that may lose. nan of one prompt.
    """
    means, folds = stats.mean_over_responses(scores), crossed.folds(len(scores))
    more = np.full(len(scores), np.nan)
    for fold in np.unique(folds[best.chosen >= 0]):
        here = folds == fold
        own = means[here]
        taken = fit(scores[~here], features[~here]).choose(features[here])
        rows = np.arange(len(own))
        more[here] = rounding.difference(own[rows, taken], own[rows, best.chosen[here]])
    return crossed.widened(more, best.rivals)
