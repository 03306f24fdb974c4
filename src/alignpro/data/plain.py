"""Prompts alone: a column of texts or of conversations, and what stands before them in columns of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from alignpro.config import DataSettings
from alignpro.data.conversations import EMPTY_PROMPT, listed, prompt_of
from alignpro.data.records import Record, Row, Schema
from alignpro.errors import DataError, UnusableRow

CONVERSATIONS = ("messages", "conversations", "conversation")
"""Columns of conversations, which are tried in this order where the default column is not there."""
DEFAULTS = {"column": "prompt", "system": "system", "history": "history"}


def column_of(settings: DataSettings, row: object) -> str | None:
    """The column that holds the prompt in a row such as this one, or None."""
    names = (settings.column, *(CONVERSATIONS if settings.column == DEFAULTS["column"] else ()))
    return next((name for name in names if isinstance(row, Mapping) and name in row), None)


def plain_schema(column: str, settings: DataSettings, rows: Iterable[Any], said: str) -> Schema:
    """How rows of prompts alone are read. Raises DataError where a column that is named is not there."""
    rows = [row for row in rows if isinstance(row, Mapping)]
    system = _beside(rows, settings.system, "system", column, said)
    history = _beside(rows, settings.history, "history", column, said)

    def read(row: Row) -> Record:
        asked = row[column]
        if asked is None:
            raise UnusableRow(EMPTY_PROMPT)
        if column in CONVERSATIONS:
            asked = listed(asked)
        return Record(prompt_of(asked, row.get(system or ""), row.get(history or ""), cut=True))

    return Schema((column,), read, tuple(name for name in (system, history) if name))


def _beside(rows: list[Row], name: str | None, setting: str, column: str, said: str) -> str | None:
    """The column of a setting; one of the default name only where its first value is of the kind."""
    if name is None or name == column:
        return None
    first = next((row[name] for row in rows if row.get(name) not in (None, "", [])), None)
    if name == DEFAULTS[setting]:
        if isinstance(first, str):
            return name if setting == "system" or first.lstrip().startswith("[") else None
        return name if setting == "history" and isinstance(first, list) else None
    if rows and not any(name in row for row in rows):
        raise DataError(f"{said}: no column {name!r}, which data.{setting} names; found {', '.join(map(str, rows[0]))}")
    return name
