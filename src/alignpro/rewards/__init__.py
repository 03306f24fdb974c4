"""Rewards of (x, y), and the judges built on them."""

from __future__ import annotations

from alignpro.config import RewardSettings
from alignpro.endpoints.address import is_endpoint
from alignpro.endpoints.opened import Endpoints
from alignpro.rewards.functions import load_function
from alignpro.rewards.scorer import GREEDY, ModelScorer
from alignpro.types import Reward


def load_reward(settings: RewardSettings, endpoints: Endpoints, device: str = "cpu", dtype: str = "auto") -> Reward:
    """The reward named in the settings: a Python function, a model behind URLs that scores, or a sequence classifier.

    Raises SettingsError, ModelNotUsable, HubUnreachable, and as `Endpoints.load`.
    """
    name = str(settings.model)
    if is_endpoint(name):
        return ModelScorer(endpoints.load(name, GREEDY, settings.endpoint))
    if name.startswith("python:"):
        return load_function(name, "reward.model")
    from alignpro.rewards.model import load_reward_model

    return load_reward_model(name, settings.batch_size, device, dtype, settings.device_map)
