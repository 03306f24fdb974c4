"""What a row of any data set is read into."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from alignpro.data.conversations import prompt_of, turns_of
from alignpro.data.texts import clean, kind
from alignpro.errors import UnusableRow
from alignpro.types import Prompt

Row = Mapping[str, Any]


class Before(NamedTuple):
    """What columns of a row hold that stands before its prompt: a system message, earlier turns."""

    system: object = None
    history: object = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and the score it was given; None where its source gives no scores."""

    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """One row: a prompt, without its other columns, and the answers.

    Of two answers the first is the one that the source calls preferred; a single answer is to be compared with those
    that other rows hold for the same prompt. Rows of prompts alone have none.
    """

    prompt: Prompt
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Schema:
    """Fields that a row must have (dotted where nested) and how such a row is read.

    `read` raises UnusableRow with the reason under which the row is counted. Columns of the fields and those of `also`
    are the record's; what else there is are a prompt's other columns.
    """

    fields: tuple[str, ...]
    read: Callable[[Row, Before], Record]
    also: tuple[str, ...] = ()

    @cached_property
    def own(self) -> frozenset[str]:
        """Columns that are read into the record."""
        return frozenset((*(name.split(".", 1)[0] for name in self.fields), *self.also))

    def lacks(self, row: object) -> list[str]:
        """Fields that the row does not have."""
        return [name for name in self.fields if not _has(row, name)]

    def fits(self, row: object) -> bool:
        """Whether the row has every field; their kinds are the reader's to check."""
        return all(_has(row, name) for name in self.fields)


def normalised(text: str) -> str:
    """The text with every run of whitespace as one space: what counts as the same prompt or the same answer."""
    return " ".join(text.split())


def shown(prompt: Prompt) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """What models are shown of a prompt but for whitespace: its text, system message and history."""
    history = tuple((role, normalised(said)) for role, said in prompt.history)
    return normalised(prompt.text), normalised(prompt.system or ""), history


def exchange(prompt: object, answer: object) -> tuple[object, str]:
    """What was asked and what was answered, where an answer is a text or messages, the last of them the assistant's.

    The messages before the last are what was asked; an answer without them was given to `prompt`. Raises UnusableRow.
    """
    if isinstance(answer, str):
        return prompt, clean(answer)
    if not isinstance(answer, list):
        raise UnusableRow(f"{kind(answer)} where an answer is wanted")
    said = turns_of(answer)
    if not said or said[-1][0] != "assistant":
        raise UnusableRow("no answer at the end of the messages")
    return answer[:-1] or prompt, said[-1][1]


def preference(
    prompt: object, before: Before, chosen: object, rejected: object, scores: tuple[object, object] = (None, None)
) -> Record:
    """A record of the answer preferred and the one that was not, texts or messages. Raises UnusableRow."""
    (asked, best), (asked_too, other) = exchange(prompt, chosen), exchange(prompt, rejected)
    x = prompt_of(asked, *before)
    if asked is not asked_too and x != prompt_of(asked_too, *before):
        raise UnusableRow("answers to different prompts")
    return Record(x, (Answer(best, score(scores[0])), Answer(other, score(scores[1]))))


def score(value: object) -> float | None:
    """A score as a number; None where there is none. Raises UnusableRow."""
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UnusableRow("a score that is no number")
    return number


def _has(row: object, name: str) -> bool:
    first, _, inside = name.partition(".")
    return isinstance(row, Mapping) and first in row and (not inside or _has(row[first], inside))
