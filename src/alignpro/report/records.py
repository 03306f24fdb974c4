"""Reads the files of a run one by one; whatever is missing, torn or of the wrong shape becomes a note or nan.

JSON's null and every number that is none (text, true, infinity) read as nan: undefined, never 0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from alignpro.results import Estimate

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
Record = Mapping[str, Any]


def read_json(path: Path, notes: list[str], without: str = "") -> Record:
    """The object in a JSON file; empty, with a note, where there is none.

    `without` says what the report cannot show when the file is missing; empty where nobody will miss it.
    """
    content = _read_text(path, notes, without)
    try:
        value = json.loads(content) if content else {}
    except ValueError:
        notes.append(f"{path.name} is not complete JSON and was left out.")
        return {}
    return value if isinstance(value, dict) else {}


def read_settings(path: Path, notes: list[str], without: str = "") -> Record:
    """The mapping in a YAML file; empty, with a note, where there is none."""
    try:
        value = yaml.safe_load(_read_text(path, notes, without))
    except yaml.YAMLError:
        notes.append(f"{path.name} is not valid YAML and was left out.")
        return {}
    return value if isinstance(value, dict) else {}


def read_lines(path: Path, notes: list[str], without: str = "") -> list[Record]:
    """The objects in a file of JSON lines; torn lines are skipped and counted."""
    # Split on \n alone: str.splitlines would also cut at U+2028, which texts contain.
    found: list[Record] = []
    skipped = 0
    for line in _read_text(path, notes, without).split("\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            found.append(record)
        else:
            skipped += 1
    if skipped:
        notes.append(f"{path.name}: {skipped} torn line{'s' if skipped > 1 else ''} skipped.")
    return found


def number(value: object) -> float:
    """A finite number, or nan."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return math.nan
    return float(value)


def text(value: object) -> str:
    """`value` as text that a UTF-8 file can hold; null is empty."""
    # JSON can spell half a surrogate pair, which no UTF-8 file can hold.
    return LONE_SURROGATE.sub("\ufffd", value if isinstance(value, str) else "" if value is None else str(value))


def estimate(record: object, key: str, ci: str = "ci95") -> Estimate:
    """The figure under `key` with its interval under `ci`; nan where either is undefined."""
    if not isinstance(record, dict):
        return Estimate(math.nan)
    bounds = record.get(ci)
    lo, hi = bounds if isinstance(bounds, list) and len(bounds) == 2 else (None, None)
    return Estimate(number(record.get(key)), number(lo), number(hi))


def records(value: object) -> Iterable[Record]:
    """The objects in a list; nothing where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _read_text(path: Path, notes: list[str], without: str) -> str:
    try:
        # A run killed in mid-write may end inside a character.
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        if without:
            notes.append(f"{path.name} is missing: {without}.")
    except OSError as error:
        notes.append(f"{path.name} could not be read: {error.strerror}.")
    return ""
