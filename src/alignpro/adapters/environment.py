"""What stands between a rewrite and its reward, for a trainer that samples x' itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignpro import config
from alignpro.config import META_PROMPT, Settings
from alignpro.flow.objective import objective
from alignpro.flow.rollout import answer
from alignpro.models.framing import Frame, Message
from alignpro.models.local import load_frame
from alignpro.running.load import load
from alignpro.types import FloatArray, FrozenModel, Generation, Prompt, Reward, RewriteTerms, Turn


@dataclass(frozen=True)
class Environment:
    """The frozen model, the reward, the frame in which the prompter is shown x, and terms on its rewrite."""

    frozen: FrozenModel
    reward: Reward
    frame: Frame = field(default_factory=lambda: Frame(META_PROMPT, quotes=True))
    responses: int = 1
    prompt_terms: RewriteTerms | None = None

    def rewards(self, originals: Sequence[str | Prompt], completions: Sequence[str], seed: int) -> FloatArray:
        """What is maximised, less the KL, by what the prompter wrote for each original prompt x: R(x, x') and the terms
        on x' (8), nan where anything failed. [N]

        The rewrite x' is read out of the completion as everywhere here, the frozen model answers x' after what stands
        before x, and the reward scores the answer against x and its row.
        """
        texts = [self.frame.read(raw) for raw in completions]
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


def before(x: Prompt) -> list[Message]:
    """What stands before a prompt, as the turns of a data set."""
    return Frame().messages(x)[:-1]


def asked(text: str, turns: Sequence[Mapping[str, str]] | None, row: Mapping[str, Any]) -> Prompt:
    """The prompt of a text, the turns `before` it and the other columns of its row."""
    told = [(turn["role"], turn["content"]) for turn in turns or ()]
    system = next((content for role, content in told if role == "system"), None)
    history = tuple(
        Turn("assistant" if role == "assistant" else "user", content) for role, content in told if role != "system"
    )
    return Prompt(text, system, history, row)


def environment(settings: Settings | str | Path) -> Environment:
    """The environment of some settings, or of a recipe or YAML file that holds them.

    Where they name a prompter, its tokenizer says how x is framed; else the frame is that of a chat model. Raises
    SettingsError where the frozen model or the reward is not named, and as their loading does.
    """
    if not isinstance(settings, Settings):
        settings = config.load(settings)
    pieces = load(settings, {"frozen", "reward", "prompt_terms"})
    own = settings.prompter
    if own.model:
        frame = load_frame("prompter", own)
    else:
        template = META_PROMPT if own.template is None else own.template
        frame = Frame.of(template, own.system, "prompter", True, own.examples, own.thoughts)
    return Environment(pieces.frozen, pieces.reward, frame, settings.train.responses, pieces.prompt_terms)
