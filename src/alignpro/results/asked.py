"""Rows of files that hold a prompt: its text and, where it has them, what stood before it and its other columns."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainValidator

from alignpro.results.base import Plain, Result, Text, text
from alignpro.types import Prompt, Turn


def _turns(value: object) -> tuple[Turn, ...]:
    """The turns in a list of pairs of role and content."""
    found = value if isinstance(value, (list, tuple)) else ()
    pairs = [pair for pair in found if isinstance(pair, (list, tuple)) and len(pair) == 2]
    return tuple(Turn("assistant" if role == "assistant" else "user", text(said)) for role, said in pairs)


class Asked(Result):
    """x, its system message, its earlier turns ([[role, content], ...]) and the other columns of its row."""

    prompt: Text
    system: Text | None = None
    history: Annotated[tuple[Turn, ...], PlainValidator(_turns)] = ()
    row: Plain = {}

    @property
    def asked(self) -> Prompt:
        """The prompt that the row holds."""
        return Prompt(self.prompt, self.system, self.history, self.row)


def told(prompt: Prompt) -> dict[str, Any]:
    """The fields of a row that holds the prompt."""
    return {"prompt": prompt.text, "system": prompt.system, "history": prompt.history, "row": dict(prompt.row)}
