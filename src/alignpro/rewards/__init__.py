"""Rewards of (x, y), and the judges built on them."""

from __future__ import annotations

from alignpro.config import RewardSettings
from alignpro.rewards.functions import load_function
from alignpro.types import Reward


def load_reward(settings: RewardSettings, device: str = "cpu", dtype: str = "auto") -> Reward:
    """The reward named in the settings: python:module:function, or a sequence classifier."""
    name = str(settings.model)
    if name.startswith("python:"):
        return load_function(name, "reward.model")
    from alignpro.rewards.model import load_reward_model

    return load_reward_model(name, settings.batch_size, device, dtype, settings.device_map)
