"""What stands between a rewrite and its reward, for a trainer that samples x' itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alignpro.config import META_PROMPT, Settings, load
from alignpro.errors import SettingsError
from alignpro.flow.rollout import answer
from alignpro.maths.stats import mean_over_responses
from alignpro.models.framing import Frame
from alignpro.models.loading import device_of
from alignpro.models.local import load_frame
from alignpro.remote.opened import Endpoints
from alignpro.rewards import load_reward
from alignpro.running.assemble import frozen_of
from alignpro.types import FloatArray, FrozenModel, Generation, Reward


@dataclass(frozen=True)
class Environment:
    """The frozen model, the reward, and the frame in which the prompter is shown x."""

    frozen: FrozenModel
    reward: Reward
    frame: Frame = field(default_factory=lambda: Frame(META_PROMPT))
    responses: int = 1

    def rewards(self, originals: Sequence[str], completions: Sequence[str], seed: int) -> FloatArray:
        """R(x, x') of what the prompter wrote for each original prompt x, nan where anything failed. [N]

        The rewrite x' is read out of the completion as everywhere here, the frozen model answers x', and the reward
        scores the answer against x.
        """
        texts = [self.frame.read(raw) for raw in completions]
        rewrites = [[Generation(text) if text else Generation("", failure="empty rewrite")] for text in texts]
        made = answer(originals, rewrites, self.frozen, self.reward, responses=self.responses, seed=seed)
        return np.asarray(mean_over_responses(made.rewards)[:, 0])


def environment(settings: Settings | str | Path) -> Environment:
    """The environment of some settings, or of a recipe or YAML file that holds them.

    Where they name a prompter, its tokenizer says how x is framed; else the frame is that of a chat model. Raises
    SettingsError where the frozen model or the reward is not named, and as their loading does.
    """
    if not isinstance(settings, Settings):
        settings = load(settings)
    missing = [name for name in settings.missing() if name in ("frozen.model", "reward.model")]
    if missing:
        raise SettingsError(f"{', '.join(missing)} not set; an adapter needs the frozen model and the reward")
    own = settings.prompter
    template = META_PROMPT if own.template is None else own.template
    frame = load_frame("prompter", own) if own.model else Frame.of(template, own.system, "prompter")
    device = device_of(settings.device)
    endpoints = Endpoints(settings.budget, settings.frozen.cache)
    frozen = frozen_of(settings, endpoints)
    reward = load_reward(settings.reward, device, settings.dtype, endpoints=endpoints)
    endpoints.ready()
    return Environment(frozen, reward, frame, settings.train.responses)
