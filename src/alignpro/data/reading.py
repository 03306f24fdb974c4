"""Rows of one origin, read into records: what they hold is told by their fields, or by `data.format`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignpro.config import DATA_SETS, DataSettings
from alignpro.data.files import Rows
from alignpro.data.known import SOURCES
from alignpro.data.origin import Origin
from alignpro.data.plain import column_of, plain_schema, standing_before
from alignpro.data.records import Before, Record, Schema
from alignpro.data.texts import check, kind
from alignpro.errors import DataError, UnusableRow
from alignpro.runtime.progress import watched


@dataclass(frozen=True, slots=True)
class Reading:
    """Records of every row that can be read, and the other columns of each; how many rows cannot, for each reason.

    `rows` are all rows as they are, `reasons` why each cannot be read, None where it can. `notes` are lines for the
    user: what the rows were read as, and which could not be.
    """

    records: list[Record]
    others: list[Mapping[str, Any]]
    dropped: Counter[str]
    notes: list[str]
    rows: Sequence[Any]
    reasons: list[str | None]


def read(origin: Origin, settings: DataSettings, preferences: bool = False, rewrite: str | None = None) -> Reading:
    """Read every row. With `preferences` prompts alone are refused; `rewrite` names a column that prompts alone must
    have beside them, which is read as the answer. Raises DataError, HubUnreachable.
    """
    rows, said = origin.rows(settings.column), origin.said
    if not rows.held:
        raise DataError(f"{said}: it holds no prompts, since it has no rows; {_wanted(SOURCES)}; or {_alone(settings)}")
    name, first = (None, None) if rewrite else _kind(origin, settings, rows, preferences)
    if name is not None:
        schemas = SOURCES[name].schemas
    elif preferences:
        raise DataError(f"{said}: prompts alone hold no preferences; {_found(first)}; {_wanted(SOURCES)}")
    else:
        columns = (column_of(settings, row) for row in ([first] if first is not None else rows.held))
        schemas = (plain_schema(next(filter(None, columns), settings.column), rewrite),)
    wanted = _wanted([name]) if name else f"wanted {_alone(settings, rewrite)}"
    before = standing_before(schemas, settings, rows.held, said)
    reading = Reading([], [], Counter(), [_told_form(rows, said, name, schemas)], rows.held, [])
    reading.notes.extend(
        f"{said}: column {column} is read as {what}; data.{setting}=null keeps it as it is"
        for setting, what in (("system", "the system message"), ("history", "the earlier turns"))
        if (column := before.get(setting))
    )
    for row in watched(rows.held, f"checking {said}"):
        try:
            record, others = _of_row(row, schemas, before, settings)
        except UnusableRow as error:
            reading.reasons.append(str(error))
            continue
        reading.reasons.append(None)
        reading.records.append(record)
        reading.others.append(others)
    reading.dropped.update(reason for reason in reading.reasons if reason is not None)
    if lines := rows.where(reading.reasons):
        reading.notes.append(f"{said}: cannot be used: {', '.join(lines)}")
    readable = [place for place, row in enumerate(rows.held) if not isinstance(row, UnusableRow)]
    other = [place for place in readable if not any(schema.fits(rows.held[place]) for schema in schemas)]
    if len(other) > len(readable) / 2:
        raise DataError(f"{said}, {rows.unit} {rows.numbers[other[0]]}: {_found(rows.held[other[0]])}; {wanted}")
    if not reading.records:
        raise DataError(f"{said}: no row of it can be used: {', '.join(lines)}")
    if absent := [name for name in settings.columns or () if not any(name in row for row in reading.others)]:
        raise DataError(f"{said}: no column {', '.join(absent)}, which data.columns names; {_found(first)}")
    return reading


def told(dropped: Counter[str]) -> str:
    """The reasons with their counts, the commonest first."""
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())


def _of_row(
    row: Any, schemas: Sequence[Schema], before: Mapping[str, str], settings: DataSettings
) -> tuple[Record, dict[str, Any]]:
    """What a row is read into, and its other columns. Raises UnusableRow."""
    if isinstance(row, UnusableRow):
        raise row
    schema = next((schema for schema in schemas if schema.fits(row)), None)
    if schema is None:
        lacking = min((schema.lacks(row) for schema in schemas), key=len)
        raise UnusableRow(
            f"a row without {', '.join(map(repr, lacking))}" if isinstance(row, Mapping) else f"{kind(row)} for a row"
        )
    record = schema.read(row, Before(**{setting: row.get(column) for setting, column in before.items()}))
    kept = settings.columns if settings.columns is not None else row.keys() - {*schema.own, *before.values()}
    others = {column: row[column] for column in row if column in kept}
    check(others)
    return record, others


def _told_form(rows: Rows, said: str, name: str | None, schemas: Sequence[Schema]) -> str:
    """What was told of the rows, and what says otherwise."""
    fields = " and ".join(map(repr, schemas[0].fields))
    held = "prompts alone" if len(schemas[0].fields) == 1 else "prompts and rewrites"
    return (
        f"{said}: {len(rows.held)} rows ({rows.form}), read as {name or held} (columns {fields});"
        " data.format and data.column name other ones"
    )


def _kind(origin: Origin, settings: DataSettings, rows: Rows, preferences: bool) -> tuple[str | None, object]:
    """Which data set it is, None for prompts alone, and the first row that says so, or else the first that can be read.

    Raises DataError where no row is of any.
    """
    readable = [
        (number, row) for number, row in zip(rows.numbers, rows.held, strict=True) if not isinstance(row, UnusableRow)
    ]
    number, first = readable[0]
    if origin.name in DATA_SETS:
        return origin.name, first
    if settings.format != "auto":
        return (settings.format if settings.format in SOURCES else None), first
    for _, row in readable:
        name = next((name for name, source in SOURCES.items() if source.holds(row, preferences)), None)
        if name is not None or (not preferences and column_of(settings, row) is not None):
            return name, row
    none = "prompts alone hold no preferences; " if preferences and column_of(settings, first) else ""
    other = "" if preferences else f"; or {_alone(settings)}"
    raise DataError(f"{origin.said}, {rows.unit} {number}: {none}{_found(first)}; {_wanted(SOURCES)}{other}")


def _found(row: object) -> str:
    return f"found {', '.join(map(str, row)) or 'no fields'}" if isinstance(row, dict) else f"found {kind(row)}"


def _wanted(names: Iterable[str]) -> str:
    """What the data sets named want, for a message."""
    ways = {name: " or ".join(", ".join(schema.fields) for schema in SOURCES[name].schemas) for name in names}
    return "wanted: " + "; ".join(f"{name}: {fields}" for name, fields in ways.items())


def _alone(settings: DataSettings, rewrite: str | None = None) -> str:
    if rewrite:
        return f"{settings.column!r} and {rewrite!r}, which are named by data.column and sft.column"
    return f"prompts in a field {settings.column!r}, named by data.column"
