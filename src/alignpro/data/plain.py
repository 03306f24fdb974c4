"""Prompts alone: a column of texts or of conversations, and what stands before them in columns of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from alignpro.config import DataSettings
from alignpro.data.conversations import listed, prompt_of
from alignpro.data.records import Answer, Before, Record, Row, Schema
from alignpro.data.texts import clean, kind
from alignpro.errors import DataError, UnusableRow

CONVERSATIONS = ("messages", "conversations", "conversation")
"""Columns of conversations, which are tried in this order where the default column is not there."""
DEFAULTS = {"column": "prompt", "system": "system", "history": "history"}


def column_of(settings: DataSettings, row: object) -> str | None:
    """The column that holds the prompt in a row such as this one, or None."""
    names = (settings.column, *(CONVERSATIONS if settings.column == DEFAULTS["column"] else ()))
    return next((name for name in names if isinstance(row, Mapping) and name in row), None)


def plain_schema(column: str, rewrite: str | None = None) -> Schema:
    """How rows of prompts alone are read, or of prompts with a rewrite of each in a column."""

    def read(row: Row, before: Before) -> Record:
        asked = row[column]
        if not isinstance(asked, (str, list, dict)):
            raise UnusableRow(f"{kind(asked)} under {column!r}")
        prompt = prompt_of(listed(asked) if column in CONVERSATIONS else asked, *before, cut=True)
        return Record(prompt, (Answer(clean(row[rewrite], "a rewrite is wanted").strip(), None),) if rewrite else ())

    return Schema((column, rewrite) if rewrite else (column,), read)


def standing_before(
    schemas: Iterable[Schema], settings: DataSettings, rows: Iterable[Any], said: str
) -> dict[str, str]:
    """Columns that hold what stands before the prompt: those that the settings name, of the default name only where
    most of its values are of the kind. Raises DataError where a column that is named is not there.

    Columns that a schema reads are its own.
    """
    held = [row for row in rows if isinstance(row, Mapping)]
    taken = {name for schema in schemas for name in schema.own}
    columns: dict[str, str] = {}
    for setting, name in (("system", settings.system), ("history", settings.history)):
        if name is None or name in taken:
            continue
        values = [row[name] for row in held if row.get(name) not in (None, "", [])]
        if name != DEFAULTS[setting] and held and not any(name in row for row in held):
            found = ", ".join(map(str, held[0]))
            raise DataError(f"{said}: no column {name!r}, which data.{setting} names; found {found}")
        if name != DEFAULTS[setting] or sum(_may_be(setting, value) for value in values) > len(values) / 2:
            columns[setting] = name
    return columns


def _may_be(setting: str, value: object) -> bool:
    if setting == "system":
        return isinstance(value, str)
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))
