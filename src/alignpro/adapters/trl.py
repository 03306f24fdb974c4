"""TRL: `reward_funcs` of its RLOO trainer, and the rows of its data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alignpro.adapters.environment import Environment
from alignpro.errors import DataError
from alignpro.rng import derive

RewardFunction = Callable[..., list[float | None]]


def rows(environment: Environment, prompts: Sequence[str], column: str = "original") -> list[dict[str, Any]]:
    """What `datasets.Dataset.from_list` takes: what the prompter is shown for x, and x itself beside it.

    That is the conversation for a prompter with a chat template, which TRL applies, and a text for one without.
    """
    frame = environment.frame
    return [{"prompt": frame.messages(x) if frame.has_chat_template else frame.text(x), column: x} for x in prompts]


def reward_function(environment: Environment, column: str = "original", seed: int = 0) -> RewardFunction:
    """One of TRL's `reward_funcs`: R(x, x') of each completion, None where it failed.

    x is taken from the data set's `column`, never from the prompt, which is the meta-prompt around it. Raises
    DataError where the column is missing.
    """
    calls = 0

    def align_pro(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        nonlocal calls
        calls += 1
        if column not in columns:
            raise DataError(
                f"the data set has no column {column!r} with the user's own prompts; build its rows by"
                " alignpro.adapters.trl.rows"
            )
        step = getattr(columns.get("trainer_state"), "global_step", 0)
        drawn = derive(seed, "trl", os.environ.get("RANK", "0"), step, calls)
        rewards = environment.rewards(columns[column], [_text(c) for c in completions], drawn)
        return [None if np.isnan(value) else float(value) for value in rewards]

    return align_pro


def _text(completion: Any) -> str:
    """A completion of a conversation is a list of messages."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
