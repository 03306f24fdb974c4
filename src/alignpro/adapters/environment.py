"""What stands between a rewrite and its reward, for a trainer that samples x' itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignpro import config
from alignpro.config import Settings
from alignpro.flow.rollout import answer, objective
from alignpro.models.prompting import META_PROMPT, fill, parse_rewrite
from alignpro.running.load import load
from alignpro.types import FloatArray, FrozenModel, Generation, Reward, RewriteTerms


@dataclass(frozen=True)
class Environment:
    """The frozen model, the reward, terms on the rewrite, and the meta-prompt in which the prompter is shown x."""

    frozen: FrozenModel
    reward: Reward
    template: str = META_PROMPT
    responses: int = 1
    prompt_terms: RewriteTerms | None = None

    def framed(self, prompt: str) -> str:
        """What the prompter reads: the user prompt x in the meta-prompt, as one user turn."""
        return fill(self.template, prompt)

    def rewards(self, originals: Sequence[str], completions: Sequence[str], seed: int) -> FloatArray:
        """What is maximised, less the KL, by what the prompter wrote for each original prompt x: R(x, x') and the terms
        on x' (8), nan where anything failed. [N]

        The rewrite x' is read out of the completion as everywhere here, the frozen model answers x', and the reward
        scores the answer against x.
        """
        texts = [parse_rewrite(raw) for raw in completions]
        rewrites = [[Generation(text) if text else Generation("", failure="empty rewrite")] for text in texts]
        answered = answer(
            originals,
            rewrites,
            self.frozen,
            self.reward,
            responses=self.responses,
            seed=seed,
            prompt_terms=self.prompt_terms,
        )
        return np.asarray(objective(answered)[:, 0])


def environment(settings: Settings | str | Path) -> Environment:
    """The environment of some settings, or of a recipe or YAML file that holds them.

    Raises SettingsError where the frozen model or the reward is not named, and as their loading does.
    """
    if not isinstance(settings, Settings):
        settings = config.load(settings)
    pieces = load(settings, {"frozen", "reward", "prompt_terms"})
    return Environment(
        pieces.frozen,
        pieces.reward,
        settings.prompter.template or META_PROMPT,
        settings.train.responses,
        pieces.prompt_terms,
    )
