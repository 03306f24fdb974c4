"""Rows of files that hold a prompt: its text and, where it has them, what stood before it and its other columns."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import PlainValidator

from alignpro.prompt import Prompt, Turn
from alignpro.results.base import Plain, Result, Text, text


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

    @property
    def before(self) -> str:
        """The system message and the earlier turns, a name before each; empty where there are none."""
        from alignpro.models.framing import transcript  # results are read where no model's packages are wanted

        return transcript(self.asked, without_text=True)

    @property
    def columns(self) -> str:
        """The other columns of the row, one a line."""
        said = ((name, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for name, v in self.row.items())
        return "\n".join(f"{name}: {value}" for name, value in said)


def told(prompt: Prompt) -> dict[str, Any]:
    """The fields of a row that holds the prompt."""
    return {"prompt": prompt.text, "system": prompt.system, "history": prompt.history, "row": dict(prompt.row)}
