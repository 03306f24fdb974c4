"""What the objective has of a rewrite: R(x, x') with the terms on x' added, sampled or estimated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alignpro.flow.rollout import answer
from alignpro.maths.stats import mean_over_responses
from alignpro.types import FloatArray, FrozenModel, Generation, Prompt, Reward, RewriteTerms, Rollout


@dataclass(frozen=True, slots=True)
class RewriteScores:
    """Rewards [B, G, K] of given rewrites, nan where failed; answers asked for each prompt [B]; reasons of failure.

    `parts` [B, G, K], `prompt_terms` [B, G] and `bonus` [B, G] as in a Rollout.
    """

    rewards: FloatArray
    frozen_calls: npt.NDArray[np.int64]
    failures: Counter[str]
    parts: Mapping[str, FloatArray]
    prompt_terms: Mapping[str, FloatArray]
    bonus: FloatArray | float


def objective(sampled: Rollout | RewriteScores) -> FloatArray:
    """R(x, x') [B, G], the mean over responses, with the terms on x' added; nan where either is. (8)"""
    return np.asarray(mean_over_responses(sampled.rewards) + sampled.bonus)


def score_rewrites(
    prompts: Sequence[Prompt],
    rewrites: Sequence[Sequence[Generation]],
    frozen: FrozenModel,
    reward: Reward,
    *,
    responses: int,
    seed: int,
    prompt_terms: RewriteTerms | None = None,
) -> RewriteScores:
    """K responses to each different rewrite of a prompt, scored against x; equal rewrites share theirs.

    This is what an estimate of R(x, x') needs, and it asks for less than `answer`, which keeps samples independent.
    """
    different = [{g.text: g for g in reversed(row) if g.failure is None} for row in rewrites]
    pairs = [(b, text) for b, row in enumerate(different) for text in row]
    place = {pair: i for i, pair in enumerate(pairs)}
    sampled = answer(
        [prompts[b] for b, _ in pairs],
        [[different[b][text]] for b, text in pairs],
        frozen,
        reward,
        responses=responses,
        seed=seed,
        prompt_terms=prompt_terms,
    )
    index = np.array(
        [[place.get((b, g.text), -1) if g.failure is None else -1 for g in row] for b, row in enumerate(rewrites)]
    )

    def looked_up(values: FloatArray, *more: int) -> FloatArray:
        """[pairs, 1, ...] -> [B, G, ...]; what failed stands last, and that is where -1 points."""
        failed = np.full((1, *more), np.nan)
        return np.asarray((np.concatenate([values[:, 0], failed]) if pairs else failed)[index])

    failures = sampled.failures + Counter(g.failure for row in rewrites for g in row if g.failure is not None)
    return RewriteScores(
        looked_up(sampled.rewards, responses),
        np.array([responses * len(row) for row in different]),
        failures,
        {name: looked_up(values, responses) for name, values in sampled.parts.items()},
        {name: looked_up(values) for name, values in sampled.prompt_terms.items()},
        looked_up(sampled.bonus) if isinstance(sampled.bonus, np.ndarray) else sampled.bonus,
    )
