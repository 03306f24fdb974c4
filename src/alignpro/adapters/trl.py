"""TRL: `reward_funcs` of its RLOO trainer, and the rows of its data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from alignpro.adapters.environment import Environment, asked, before
from alignpro.errors import DataError
from alignpro.rng import derive
from alignpro.types import Prompt, as_prompts, columns_of

RewardFunction = Callable[..., list[float | None]]


TRLS_OWN = frozenset({"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"})
"""Keyword arguments that TRL gives a reward function beside the columns of its data set."""


def rows(environment: Environment, prompts: Sequence[str | Prompt], column: str = "original") -> list[dict[str, Any]]:
    """What `datasets.Dataset.from_list` takes: what the prompter is shown for x, x itself, and the columns of its row.

    The first is the conversation for a prompter with a chat template, which TRL applies, and a text for one without.
    What stands before x is in a column of its own, COLUMN_before, where any prompt has it. Raises DataError for a
    column of the data that TRL or these rows already have.
    """
    frame, xs = environment.frame, as_prompts(prompts)
    names = columns_of(xs)
    own = {"prompt", column, _before(column)}
    if taken := [name for name in names if name in own | TRLS_OWN]:
        raise DataError(f"the data has a column {taken[0]!r}, which TRL or the adapter has too; rename it")
    turns = any(not x.alone for x in xs)
    return [
        {
            "prompt": frame.messages(x) if frame.has_chat_template else frame.text(x),
            column: x.text,
            **({_before(column): before(x)} if turns else {}),
            **{name: x.row.get(name) for name in names},
        }
        for x in xs
    ]


def reward_function(environment: Environment, column: str = "original", seed: int = 0) -> RewardFunction:
    """One of TRL's `reward_funcs`: R(x, x') of each completion, None where it failed.

    x is taken from the data set's `column`, never from the prompt, which is the meta-prompt around it; the other
    columns are its row. Raises DataError where the column is missing.
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
        turns = columns.get(_before(column)) or [None] * len(completions)
        listed = (n for n, values in columns.items() if isinstance(values, list) and len(values) == len(completions))
        kept = [name for name in listed if name not in TRLS_OWN | {column, _before(column)}]
        originals = [
            asked(x, turns[i], {name: columns[name][i] for name in kept}) for i, x in enumerate(columns[column])
        ]
        rewards = environment.rewards(originals, [_text(c) for c in completions], drawn)
        return [None if np.isnan(value) else float(value) for value in rewards]

    return align_pro


def _before(column: str) -> str:
    return f"{column}_before"


def _text(completion: Any) -> str:
    """A completion of a conversation is a list of messages."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
