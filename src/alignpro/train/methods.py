"""`train.method` by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alignpro.config import TrainSettings
from alignpro.train import group
from alignpro.train.offline import OfflineLearner
from alignpro.train.offline_losses import LOSSES
from alignpro.train.ppo import Ppo
from alignpro.train.update import Learner

ONLINE: dict[str, Callable[[Any, TrainSettings], Learner]] = {
    "ppo": lambda policy, settings: Ppo(policy, settings.ppo, settings.update.tokens),
    "rloo": lambda policy, settings: group.rloo(policy, settings.group, settings.update.tokens),
    "grpo": lambda policy, settings: group.grpo(policy, settings.group, settings.update.tokens),
}


def learner(policy: Any, settings: TrainSettings) -> Learner:
    """The method named in the settings, for the policy's model."""
    if settings.method in ONLINE:
        return ONLINE[settings.method](policy, settings)
    return OfflineLearner(policy, settings.offline, LOSSES[settings.method], settings.update.tokens)
