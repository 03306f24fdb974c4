"""Experience for the prompter: its action is x', and the frozen model and the reward are its environment. (9)"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignpro.config import TrainSettings
from alignpro.models.local import LocalPrompter
from alignpro.rollout import rollout
from alignpro.train.loop import Collect, Collected
from alignpro.types import FloatArray, FrozenModel, Reward


def collector(prompter: LocalPrompter, frozen: FrozenModel, reward: Reward, settings: TrainSettings) -> Collect:
    """B prompts, G rewrites each, K responses each; a rewrite's reward is R(x, x'), the mean over its responses."""

    def collect(prompts: Sequence[str], seed: int) -> Collected:
        made = rollout(
            prompts,
            prompter,
            frozen,
            reward,
            rewrites=settings.rewrites,
            responses=settings.responses,
            seed=seed,
        )
        queries = prompter.lm.queries(prompts)
        return Collected(
            queries=[query for query in queries for _ in range(settings.rewrites)],
            actions=[rewrite for row in made.rewrites for rewrite in row],
            rewards=mean_over_responses(made.rewards).ravel(),
            failures=made.failures,
            frozen_calls=made.frozen_calls,
        )

    return collect


def mean_over_responses(rewards: FloatArray) -> FloatArray:
    """R(x, x') [B, G] from rewards [B, G, K]: the mean of the responses that have one, nan where none has."""
    count = np.isfinite(rewards).sum(-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(rewards), rewards, 0.0).sum(-1) / count)
