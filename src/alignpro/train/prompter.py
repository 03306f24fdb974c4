"""Experience for the prompter: its action is x', and the frozen model and the reward are its environment. (9)"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignpro.config import TrainSettings
from alignpro.flow.rollout import rollout
from alignpro.maths.stats import mean_over_responses
from alignpro.train.collected import Collect, Collected, columns
from alignpro.types import FrozenModel, Prompter, Reward, RewriteTerms


def collector(
    prompter: Prompter,
    frozen: FrozenModel,
    reward: Reward,
    settings: TrainSettings,
    prompt_terms: RewriteTerms | None = None,
) -> Collect:
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
            prompt_terms=prompt_terms,
        )
        return Collected(
            actions=[rewrite for row in made.rewrites for rewrite in row],
            groups=np.repeat(np.arange(len(prompts)), settings.rewrites),
            rewards=mean_over_responses(made.rewards).ravel(),
            failures=made.failures,
            frozen_calls=made.frozen_calls,
            bonus=np.ravel(made.bonus) if prompt_terms else 0.0,
            columns=columns(made.parts, made.prompt_terms),
        )

    return collect
