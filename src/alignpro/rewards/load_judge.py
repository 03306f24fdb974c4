"""Who measures beside the reward that was trained on: the second reward, and the judge of win rates."""

from __future__ import annotations

from dataclasses import replace

from alignpro.config import Settings
from alignpro.errors import AlignProError, SettingsError
from alignpro.rewards import load_reward
from alignpro.rewards.functions import FunctionReward
from alignpro.rewards.judge import RewardJudge
from alignpro.rewards.model import RewardModel
from alignpro.types import Judge, Reward


def load_second_reward_and_judge(settings: Settings, reward: Reward, device: str) -> tuple[Reward | None, Judge]:
    """The second reward, None where there is none, and the judge; a reward that is named twice is loaded once.

    Raises SettingsError for a second reward that is the reward itself, and whatever `load_reward` raises.
    """
    evaluate = settings.evaluate
    loaded: dict[str, Reward] = {str(settings.reward.model): reward}
    if evaluate.second_reward in loaded:
        raise SettingsError(
            f"evaluate.second_reward is {evaluate.second_reward}, which is reward.model itself and would measure"
            " nothing of its own; name another, or leave it out"
        )

    def load(spec: str, setting: str) -> Reward:
        if spec not in loaded:
            found = _load(settings, spec, setting, device)
            taken = {other.name for other in loaded.values()}
            loaded[spec] = _renamed(found, spec) if found.name in taken else found
        return loaded[spec]

    second = load(evaluate.second_reward, "evaluate.second_reward") if evaluate.second_reward else None
    judging = load(evaluate.judge, "evaluate.judge") if evaluate.judge else second or reward
    return second, RewardJudge(judging, evaluate.tie_margin)


def _load(settings: Settings, spec: str, setting: str, device: str) -> Reward:
    try:
        return load_reward(settings.reward.model_copy(update={"model": spec}), device, settings.dtype)
    except AlignProError as error:  # faults name the setting they were loaded for
        raise type(error)(str(error).replace("reward.model", setting, 1)) from error


def _renamed(reward: Reward, name: str) -> Reward:
    """Two folders may end in one name; tables tell rewards apart by theirs."""
    return replace(reward, name=name) if isinstance(reward, FunctionReward | RewardModel) else reward
