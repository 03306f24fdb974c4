"""What all verifiers are: the gold of a row, and what an answer is worth beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from alignpro.errors import DataError, SettingsError, UnusableRow
from alignpro.runtime import processes
from alignpro.types import Prompt, Response, RewardResult, columns_of

Gold = TypeVar("Gold")
SHOWN = 3
"""Rows that a message quotes."""
EXTRA = "pip install 'alignpro[verify]'"
_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPEN = re.compile(r"<think(?:ing)?>", re.IGNORECASE)


@dataclass(frozen=True)
class Verifier(Generic[Gold]):
    """r(x, y) by what the row behind x says of a right answer: 1 or 0, or a share between.

    `gold` reads a row, and raises UnusableRow with the reason where it cannot; such a prompt's answers have no reward.
    `worth` of the gold and an answer is within [0, 1]. What stands before a closing `</think>` is not of the answer.
    """

    name: str
    columns: tuple[str, ...]
    gold: Callable[[Mapping[str, Any]], Gold]
    worth: Callable[[Gold, str], float]
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> RewardResult:
        pairs = list(zip(prompts, responses, strict=True))
        read = processes.spread(pairs, lambda mine: [self._one(x, y) for x, y in mine])
        values = np.array([value for value, _ in read], dtype=np.float64)
        return RewardResult(values, tuple(reason for _, reason in read))

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """Rows without a gold that can be read, counted by reason, the first quoted.

        Raises DataError for a column that no row has, and where no row's gold can be read.
        """
        for column in self.columns:
            if prompts and not any(column in prompt.row for prompt in prompts):
                there = ", ".join(columns_of(prompts)) or "none"
                raise DataError(
                    f"{self.name} reads the column {column!r}, and no prompt has it; the columns there are: {there}."
                    " Name the right one in reward.arguments"
                )
        unread: dict[str, list[str]] = {}
        for prompt in prompts:
            try:
                self.gold(prompt.row)
            except UnusableRow as error:
                unread.setdefault(str(error), []).append(_quoted(prompt, self.columns))
        told = [
            f"{self.name}: {len(rows)} of {len(prompts)} prompts get no reward: {reason} ({'; '.join(rows[:SHOWN])}"
            f"{'; ...' if len(rows) > SHOWN else ''})"
            for reason, rows in unread.items()
        ]
        if prompts and sum(map(len, unread.values())) == len(prompts):
            raise DataError("\n".join(told))
        return told

    def _one(self, prompt: Prompt, response: Response) -> tuple[float, str | None]:
        try:
            return float(self.worth(self.gold(prompt.row), said(response.text))), None
        except UnusableRow as error:
            return math.nan, str(error)
        except Exception as error:
            # Counted with the failed samples, by its kind.
            return math.nan, f"{self.name} raised {type(error).__name__}: {str(error)[:80]}"


def said(response: str) -> str:
    """An answer without the thought before it; nothing where the thought never ends."""
    rest = _THOUGHT.sub("", response)
    opened = _OPEN.search(rest)
    return rest[: opened.start()] if opened else rest


def cell(row: Mapping[str, Any], column: str) -> Any:
    """What a row has in a column. Raises UnusableRow where that is nothing."""
    value = row.get(column)
    if value is None or (isinstance(value, str | list | dict) and not value) or value != value:
        raise UnusableRow(f"no {column}")
    return value


def texts(row: Mapping[str, Any], column: str) -> list[str]:
    """The gold answers of a row, one or a list of which each is right, as text. Raises UnusableRow."""
    value = cell(row, column)
    given = value if isinstance(value, list) else [value]
    if any(isinstance(one, dict | list) or one is None for one in given):
        raise UnusableRow(f"{column} is neither a text or number nor a list of them")
    answers = [str(one).strip() for one in given]
    if not all(answers):
        raise UnusableRow(f"no {column}")
    return answers


def needs(package: str, verifier: str, error: ImportError) -> SettingsError:
    """The error of a verifier whose package is not installed."""
    return SettingsError(f"{verifier} needs the package {package}, which is not here ({error}); {EXTRA}")


def _quoted(prompt: Prompt, columns: Sequence[str]) -> str:
    shown = ", ".join(f"{column}={prompt.row[column]!r:.60}" for column in columns if column in prompt.row)
    return f"{prompt.text[:40]!r}: {shown or 'no such column'}"
