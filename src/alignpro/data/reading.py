"""Rows of one origin, read into records: what they hold is told by their fields, or by `data.format`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alignpro.config import DATA_SETS, DataSettings
from alignpro.data.conversations import WRONG_KIND
from alignpro.data.known import SOURCES
from alignpro.data.origin import Origin
from alignpro.data.plain import column_of, plain_schema
from alignpro.data.records import Record
from alignpro.errors import DataError, UnusableRow


@dataclass(frozen=True, slots=True)
class Reading:
    """Records of every row that can be read, and the other columns of each; how many rows cannot, for each reason.

    `notes` are lines for the user.
    """

    records: list[Record]
    others: list[Mapping[str, Any]]
    dropped: Counter[str]
    notes: list[str]


def read(origin: Origin, settings: DataSettings, preferences: bool = False) -> Reading:
    """Read every row; with `preferences` prompts alone are refused. Raises DataError, HubUnreachable."""
    rows, said = list(origin.rows(settings.column)), origin.said
    first = next((row for row in rows if not isinstance(row, UnusableRow)), None)
    name = _kind(origin, settings, first)
    notes = []
    if name is not None:
        schemas = SOURCES[name].schemas
    elif preferences:
        raise DataError(f"{said}: prompts alone hold no preferences; {_found(first)}; {_wanted(SOURCES)}")
    else:
        column = column_of(settings, first) or settings.column
        schemas = (plain_schema(column, settings, rows, said),)
        if settings.system in schemas[0].also:
            notes.append(
                f"{said}: column {settings.system} is read as the system message; data.system=null keeps it as it is"
            )
    reading = Reading([], [], Counter(), notes)
    for row in rows:
        try:
            if isinstance(row, UnusableRow):
                raise row
            schema = next((schema for schema in schemas if schema.fits(row)), None)
            if schema is None:
                raise UnusableRow(WRONG_KIND)
            reading.records.append(schema.read(row))
        except UnusableRow as error:
            reading.dropped[str(error)] += 1
            continue
        kept = settings.columns if settings.columns is not None else row.keys() - schema.own
        reading.others.append({column: row[column] for column in row if column in kept})
    if not rows:
        raise DataError(f"{said}: it holds no prompts, since it has no rows; {_wanted(SOURCES)}; or {_alone(settings)}")
    if first is not None and not any(schema.fits(row) for schema in schemas for row in rows):
        raise DataError(f"{said}: {_found(first)}; {_wanted([name]) if name else f'wanted: {_alone(settings)}'}")
    if not reading.records:
        raise DataError(f"{said}: no row of it can be used: {told(reading.dropped)}")
    if absent := [name for name in settings.columns or () if not any(name in row for row in reading.others)]:
        raise DataError(f"{said}: no column {', '.join(absent)}, which data.columns names; {_found(first)}")
    return reading


def told(dropped: Counter[str]) -> str:
    """The reasons with their counts, the commonest first."""
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())


def _kind(origin: Origin, settings: DataSettings, first: object) -> str | None:
    """Which data set it is; None for prompts alone. Raises DataError where a row such as the first one is neither."""
    if origin.name in DATA_SETS:
        return origin.name
    if settings.format != "auto":
        return settings.format if settings.format in SOURCES else None
    fitting = next((name for name, source in SOURCES.items() if source.schema_of(first)), None)
    if fitting is None and first is not None and column_of(settings, first) is None:
        raise DataError(f"{origin.said}: {_found(first)}; {_wanted(SOURCES)}; or {_alone(settings)}")
    return fitting


def _found(row: object) -> str:
    if isinstance(row, dict):
        return f"found {', '.join(map(str, row)) or 'no fields'}"
    return f"found {type(row).__name__}" if row is not None else "it has no row that can be read"


def _wanted(names: Iterable[str]) -> str:
    """What the data sets named want, for a message."""
    ways = {name: " or ".join(", ".join(schema.fields) for schema in SOURCES[name].schemas) for name in names}
    return "wanted: " + "; ".join(f"{name}: {fields}" for name, fields in ways.items())


def _alone(settings: DataSettings) -> str:
    return f"prompts in a field {settings.column!r}, named by data.column"
