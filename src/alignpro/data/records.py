"""What a row of any data set is read into, and the turns of a chat in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from alignpro.errors import UnusableRow

Row = Mapping[str, Any]

EMPTY_PROMPT = "empty prompt"
SEVERAL_TURNS = "several turns"
WRONG_KIND = "fields missing or of the wrong kind"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and the score it was given; None where its source gives no scores."""

    text: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """One row: a prompt of one turn, its system message ("" for none) and the answers.

    Of two answers the first is the one that the source calls preferred; a single answer is to be compared with those
    that other rows hold for the same prompt.
    """

    prompt: str
    system: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Schema:
    """Fields that a row must have (dotted where nested) and how such a row is read.

    `read` raises UnusableRow with the reason under which the row is counted.
    """

    fields: tuple[str, ...]
    read: Callable[[Row], Record]

    def fits(self, row: object) -> bool:
        """Whether the row has every field; their kinds are the reader's to check."""
        return all(_has(row, name.split(".")) for name in self.fields)


def normalised(text: str) -> str:
    """The text with every run of whitespace as one space: what counts as the same prompt or the same answer."""
    return " ".join(text.split())


def with_system(prompt: str, system: str) -> str:
    """One text of both: the system message, an empty line, the user's text."""
    return f"{system}\n\n{prompt}" if system else prompt


def record(prompt: object, system: object, *answers: Answer) -> Record:
    """A record of a prompt that is a text or a list of messages. Raises UnusableRow."""
    inside, text = _system_and_user(prompt)
    outside = "" if system is None else _text(system).strip()
    if not text:
        raise UnusableRow(EMPTY_PROMPT)
    return Record(text, "\n\n".join(part for part in (outside, inside) if part), answers)


def exchange(prompt: object, answer: object) -> tuple[object, str]:
    """What was asked and what was answered, where an answer is a text or messages, the last of them the assistant's.

    The messages before the last are what was asked; an answer without them was given to `prompt`. Raises UnusableRow.
    """
    if isinstance(answer, str):
        return prompt, answer
    messages = _messages(answer)
    if not messages or messages[-1][0] != "assistant":
        raise UnusableRow("no answer at the end of the messages")
    asked = [{"role": role, "content": content} for role, content in messages[:-1]]
    return asked or prompt, messages[-1][1]


def preference(
    prompt: object, system: object, chosen: object, rejected: object, scores: tuple[object, object] = (None, None)
) -> Record:
    """A record of the answer preferred and the one that was not, texts or messages. Raises UnusableRow."""
    asked, best = exchange(prompt, chosen)
    asked_too, other = exchange(prompt, rejected)
    if asked != asked_too:
        raise UnusableRow("answers to different prompts")
    return record(asked, system, Answer(best, score(scores[0])), Answer(other, score(scores[1])))


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


def _system_and_user(prompt: object) -> tuple[str, str]:
    if isinstance(prompt, str):
        return "", prompt.strip()
    messages = _messages(prompt)
    system = "\n\n".join(content.strip() for role, content in messages if role == "system")
    turns = [(role, content) for role, content in messages if role != "system"]
    if len(turns) > 1:
        raise UnusableRow(SEVERAL_TURNS)
    if not turns or turns[0][0] != "user":
        raise UnusableRow("no turn of the user")
    return system, turns[0][1].strip()


def _messages(value: object) -> list[tuple[str, str]]:
    if not isinstance(value, list) or not all(isinstance(message, Mapping) for message in value):
        raise UnusableRow(WRONG_KIND)
    return [(_text(message.get("role")), _text(message.get("content"))) for message in value]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnusableRow(WRONG_KIND)
    return value


def _has(row: object, path: list[str]) -> bool:
    if not path:
        return True
    return isinstance(row, Mapping) and path[0] in row and _has(row[path[0]], path[1:])
