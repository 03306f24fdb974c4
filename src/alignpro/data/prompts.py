"""User prompts from a txt, jsonl or csv file, checked, deduplicated and split."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alignpro.config import DataSettings
from alignpro.data.files import json_lines, read_text
from alignpro.data.records import normalised
from alignpro.data.split import split
from alignpro.errors import DataError
from alignpro.types import Prompt, as_prompts


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts for training and, apart from them, for testing; `dropped` counts unusable rows by reason."""

    train: tuple[Prompt, ...]
    test: tuple[Prompt, ...]
    dropped: dict[str, int]


def load_prompts(settings: DataSettings, seed: int) -> Prompts:
    """Read the file named in the settings and split it.

    The split is that of `data.split`, by a hash of the prompt's text and the seed: neither the order of the file nor
    rows added later move a prompt from one side to the other, and a prompt that stands in a file of preferences too is
    on the same side there. Raises DataError naming the file and what was found.
    """
    path = Path(str(settings.prompts)).expanduser()
    dropped: dict[str, int] = {}
    seen: dict[str, str] = {}
    for text in read_file(path, settings.column):
        key = normalised(text)
        reason = "empty" if not key else "repeated" if key in seen else None
        if reason:
            dropped[reason] = dropped.get(reason, 0) + 1
        else:
            seen[key] = text.strip()
    if not seen:
        raise DataError(
            f"data.prompts {path}: the file holds no prompts; one a line is wanted, or a {settings.column!r} field"
        )
    train, test = split(seen, settings, seed)
    return Prompts(as_prompts(seen[key] for key in train), as_prompts(seen[key] for key in test), dropped)


def read_file(path: Path, column: str) -> Iterator[str]:
    """Prompts in the order of the file. Raises DataError."""
    text = read_text(path)
    readers = {".txt": _txt, ".jsonl": _jsonl, ".csv": _csv}
    if path.suffix.lower() not in readers:
        raise DataError(f"data.prompts {path}: a file ending in {', '.join(readers)} is wanted")
    return readers[path.suffix.lower()](text, path, column)


def _txt(text: str, path: Path, column: str) -> Iterator[str]:
    yield from (line for line in text.replace("\r\n", "\n").split("\n") if line.strip())


def _jsonl(text: str, path: Path, column: str) -> Iterator[str]:
    for number, row in json_lines(text, path):
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            held = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            raise DataError(
                f"data.prompts {path}, line {number}: no text in field {column!r}; found {held or 'nothing'};"
                " name the field by data.column"
            )
        yield row[column]


def _csv(text: str, path: Path, column: str) -> Iterator[str]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(rows.fieldnames or ())
    if column not in columns:
        raise DataError(
            f"data.prompts {path}: no column {column!r}; found {', '.join(columns) or 'nothing'};"
            " name it by data.column"
        )
    for row in rows:
        yield row[column] or ""
