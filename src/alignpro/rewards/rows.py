"""Rewards that read the row behind a prompt, and what can be said of the rows before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from alignpro.rewards.composite import CompositeReward
from alignpro.types import Prompt, Reward


@runtime_checkable
class ReadsRows(Reward, Protocol):
    """A reward that reads columns of `Prompt.row`."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns it reads."""
        ...

    def check(self, prompts: Sequence[Prompt]) -> Sequence[str]:
        """What the user should know of these rows before the first is scored: how many give no reward, and why.

        Raises DataError where a column is in no row, or where nothing can be scored until the data is mended.
        """
        ...


def check_rows(reward: Reward, prompts: Sequence[Prompt]) -> list[str]:
    """What a reward, and every term of a sum, has to say of the rows. Raises DataError, as `ReadsRows.check` does."""
    parts = [term.reward for term in reward.terms] if isinstance(reward, CompositeReward) else [reward]
    return [line for part in parts if isinstance(part, ReadsRows) for line in part.check(prompts)]
