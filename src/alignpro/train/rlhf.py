"""Experience for RLHF, the oracle: the frozen model's own copy is the policy and its action is y. (2)"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignpro.config import TrainSettings
from alignpro.flow.prompters import IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.models.local import LocalFrozenModel
from alignpro.train.collected import Collect, Collected, columns
from alignpro.types import Reward


def collector(policy: LocalFrozenModel, reward: Reward, settings: TrainSettings) -> Collect:
    """B prompts as they are, `rewrites` times `responses` answers each."""
    count = settings.rewrites * settings.responses

    def collect(prompts: Sequence[str], seed: int) -> Collected:
        made = rollout(prompts, IdentityPrompter(), policy, reward, responses=count, seed=seed)
        return Collected(
            actions=[response for row in made.responses for response in row[0]],
            groups=np.repeat(np.arange(len(prompts)), count),
            rewards=made.rewards.ravel(),
            failures=made.failures,
            frozen_calls=made.frozen_calls,
            columns=columns(made.parts, {}),
        )

    return collect
