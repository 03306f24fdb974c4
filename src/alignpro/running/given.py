"""Prompts as users of Python give them: a text, a `Prompt`, or messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alignpro.data.conversations import prompt_of
from alignpro.data.texts import blank
from alignpro.errors import DataError, UnusableRow
from alignpro.types import Prompt

Messages = Sequence[Mapping[str, Any]]
"""One conversation, in OpenAI's form (role, content) or ShareGPT's (from, value); its last turn is the user's."""

Asked = str | Prompt | Messages
"""One prompt, however it comes."""
_WANTED = "a text, a Prompt, or messages ({role, content}) of which the last is the user's"


def is_conversation(value: object) -> bool:
    """Whether it is messages, which are one prompt."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def several(value: object) -> Iterable[Any]:
    """What may be many prompts. Raises DataError for what is none and holds none."""
    if isinstance(value, Iterable) and not isinstance(value, (bytes, Mapping)):
        return value
    raise DataError(f"prompts: found {_found(value)}; wanted {_WANTED}, or a list of them")


def prompt_in(value: object, number: int) -> Prompt:
    """The prompt of a text or of messages. Raises DataError; `number` counts from 1."""
    if isinstance(value, Prompt):
        return value
    if isinstance(value, str) and blank(value):
        return Prompt(value)  # which is told where it is to be rewritten
    try:
        if isinstance(value, str) or is_conversation(value):
            return prompt_of(value)
        reason = "it is none"
    except UnusableRow as error:
        reason = str(error)
    raise DataError(f"prompt {number}: {reason}; found {_found(value)}; wanted {_WANTED}")


def _found(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, (list, tuple)) and value:
        first = value[0]
        roles = ", ".join(
            str(turn.get("role") or turn.get("from") or [*turn]) for turn in value if isinstance(turn, Mapping)
        )
        return f"turns of {roles}" if roles else f"a list of {type(first).__name__}"
    return repr(value)[:60] if isinstance(value, str) else type(value).__name__
