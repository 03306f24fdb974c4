"""The data sets known by name: from the hub or from a file, as prompts or as preferences.

    settings.data.prompts = "pairs.jsonl"     told from the fields of its first row, or by data.format
    settings.data.prompts = "ultrafeedback"   from the hub, by the `datasets` library

Prompts and preferences of one source, seed and share are split alike: a prompt held out here is held out there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro.config import DATA_SETS, DataSettings
from alignpro.data import helpsteer, orca, pairs, prompts, ultrafeedback
from alignpro.data.files import INSTALL, rows_of
from alignpro.data.preferences import REPEATED, Preferences, compare
from alignpro.data.prompts import Prompts
from alignpro.data.records import WRONG_KIND, Record, Schema, normalised, with_system
from alignpro.data.split import split
from alignpro.errors import DataError, HubUnreachable, UnusableRow
from alignpro.types import as_prompts

OTHER_SYSTEM = "repeated under another system message"


@dataclass(frozen=True)
class Source:
    """A data set: where the hub has it, "" where it comes from files alone, and the schemas its rows come in."""

    hub: str
    split: str
    schemas: tuple[Schema, ...]

    def schema_of(self, row: object) -> Schema | None:
        """The first schema whose fields the row has."""
        return next((schema for schema in self.schemas if schema.fits(row)), None)


SOURCES = {
    "ultrafeedback": Source(ultrafeedback.HUB, ultrafeedback.SPLIT, ultrafeedback.SCHEMAS),
    "helpsteer": Source(helpsteer.HUB, helpsteer.SPLIT, helpsteer.SCHEMAS),
    "orca": Source(orca.HUB, orca.SPLIT, orca.SCHEMAS),
    "preferences": Source("", "", pairs.SCHEMAS),
}
"""In the order in which a file's first row is tried: the plainest comes last."""


def load_prompts(settings: DataSettings, seed: int) -> Prompts:
    """Prompts of the file or data set named, split into training and testing.

    Prompts alone (txt, or jsonl and csv that are no known data set) are read by `data.prompts.load_prompts`. Of a data
    set each different prompt is one, its system message before it (`with_system`); rows that cannot be used are
    counted, and so is a system message under which a prompt comes once more. Raises DataError, HubUnreachable.
    """
    name = _data_set(settings)
    if name is None:
        return prompts.load_prompts(settings, seed)
    records, dropped = _records(settings, name)
    first: dict[str, Record] = {}
    for record in records:
        key = normalised(record.prompt)
        if key in first:
            same = normalised(first[key].system) == normalised(record.system)
            dropped[REPEATED if same else OTHER_SYSTEM] += 1
        first.setdefault(key, record)
    texts = {key: with_system(record.prompt, record.system) for key, record in first.items()}
    train, test = split(texts, settings, seed)
    return Prompts(as_prompts(texts[key] for key in train), as_prompts(texts[key] for key in test), dict(dropped))


def load_preferences(settings: DataSettings, seed: int, keep_not_higher: bool = False) -> Preferences:
    """Preferences of the file or data set named, no prompt on both sides.

    `keep_not_higher` as in `compare`. Raises DataError, HubUnreachable.
    """
    name = _data_set(settings)
    if name is None:
        raise DataError(f"data.prompts {settings.prompts}: {_no_preferences(settings)}; {_wanted(SOURCES)}")
    records, dropped = _records(settings, name)
    pairs, left_out = compare(records, keep_not_higher)
    dropped += left_out
    if not pairs:
        raise DataError(f"data.prompts {settings.prompts}: no pair of answers can be used: {_told(dropped)}")
    train, test = split((normalised(pair.prompt) for pair in pairs), settings, seed)
    sides = [[pair for pair in pairs if normalised(pair.prompt) in side] for side in (set(train), set(test))]
    return Preferences(tuple(sides[0]), tuple(sides[1]), dropped)


def _data_set(settings: DataSettings) -> str | None:
    """Which data set the settings mean; None for prompts alone."""
    if settings.prompts in DATA_SETS:
        return settings.prompts
    if settings.format != "auto":
        return settings.format if settings.format in SOURCES else None
    path = _path(settings)
    if path.suffix.lower() not in (".jsonl", ".json", ".csv", ".parquet"):
        return None
    first = next(rows_of(path), None)
    fitting = [name for name, source in SOURCES.items() if source.schema_of(first)]
    if fitting:
        return fitting[0]
    alone = path.suffix.lower() in (".jsonl", ".csv")
    if not isinstance(first, dict) or (alone and settings.column in first):
        if alone:
            return None
        raise DataError(f"data.prompts {path}: {_found(first)}; {_wanted(SOURCES)}")
    instead = f"; or prompts in a field {settings.column!r}, named by data.column" if alone else ""
    raise DataError(f"data.prompts {path}: {_found(first)}; {_wanted(SOURCES)}{instead}")


def _records(settings: DataSettings, name: str) -> tuple[list[Record], Counter[str]]:
    """Records of every row that can be read, and how many cannot for each reason."""
    source = SOURCES[name]
    rows = _hub_rows(name) if settings.prompts == name else rows_of(_path(settings))
    records: list[Record] = []
    dropped: Counter[str] = Counter()
    fits, first = False, None
    for row in rows:
        first = row if first is None else first
        schema = source.schema_of(row)
        fits = fits or schema is not None
        try:
            if schema is None:
                raise UnusableRow(WRONG_KIND)
            records.append(schema.read(row))
        except UnusableRow as error:
            dropped[str(error)] += 1
    if not fits:
        raise DataError(f"data.prompts {settings.prompts}: {_found(first)}; {_wanted([name])}")
    if not records:
        raise DataError(f"data.prompts {settings.prompts}: no row of it can be used: {_told(dropped)}")
    return records, dropped


def _hub_rows(name: str) -> Iterator[Any]:
    try:
        from datasets import load_dataset
    except ImportError:
        raise DataError(
            f"data.prompts {name}: a data set from the hub needs the datasets library: {INSTALL}; or give a file of it"
        ) from None
    source = SOURCES[name]
    try:
        rows = load_dataset(source.hub, split=source.split)
    except OSError as error:  # what the library raises for no network, offline mode, and an unknown data set
        first = str(error).split("\n", 1)[0]
        raise HubUnreachable(
            f"data.prompts {name}: {source.hub} could not be had from the hub ({first}); check the network, or give a"
            " file of it"
        ) from error
    except ValueError as error:  # another version of it, without the split
        first = str(error).split("\n", 1)[0]
        raise DataError(
            f"data.prompts {name}: split {source.split} of {source.hub} cannot be read ({first}); give a file of it"
        ) from error
    yield from rows


def _no_preferences(settings: DataSettings) -> str:
    """Why prompts alone are no preferences, with the fields found where the file has any."""
    path = _path(settings)
    if settings.format == "auto" and path.suffix.lower() in (".jsonl", ".csv"):
        return f"prompts alone hold no preferences; {_found(next(rows_of(path), None))}"
    return "prompts alone hold no preferences"


def _path(settings: DataSettings) -> Path:
    return Path(str(settings.prompts)).expanduser()


def _found(row: object) -> str:
    if row is None:
        return "the file holds no rows"
    return (
        f"found {', '.join(map(str, row)) or 'no fields'}" if isinstance(row, dict) else f"found {type(row).__name__}"
    )


def _wanted(names: Iterable[str]) -> str:
    """What the data sets named want, for a message."""
    ways = {name: " or ".join(", ".join(schema.fields) for schema in SOURCES[name].schemas) for name in names}
    return "wanted: " + "; ".join(f"{name}: {fields}" for name, fields in ways.items())


def _told(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
