"""Rows of a JSONL, JSON, CSV or Parquet file, one at a time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignpro.errors import DataError

INSTALL = "pip install 'alignpro[data]'"


def rows_of(path: Path) -> Iterator[Any]:
    """Rows in the order of the file, as they are. Raises DataError."""
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    check_file(path)
    if path.suffix.lower() not in readers:
        raise DataError(f"data.prompts {path}: a file ending in {', '.join(readers)} is wanted for a data set")
    return readers[path.suffix.lower()](path)


def check_file(path: Path) -> None:
    """Raises DataError where there is no such file."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(
            f"data.prompts {path}: the file {what}; give a txt, jsonl or csv file, or the name of a data set:"
            " ultrafeedback, helpsteer, orca"
        )


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file. Raises DataError."""
    check_file(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"data.prompts {path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"data.prompts {path}: cannot be read ({error.strerror})") from None


def json_lines(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and value of every line that is not blank. Raises DataError."""
    for number, line in enumerate(text.split("\n"), 1):  # on \n alone: rows may hold U+2028
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"data.prompts {path}, line {number}: not JSON ({error.msg})") from None


def _jsonl(path: Path) -> Iterator[Any]:
    yield from (row for _, row in json_lines(read_text(path), path))


def _json(path: Path) -> Iterator[Any]:
    try:
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(
            f"data.prompts {path}, line {error.lineno}: not JSON ({error.msg}); name a file of one row a line .jsonl"
        ) from None
    if not isinstance(rows, list):
        raise DataError(f"data.prompts {path}: a list of rows is wanted, found {type(rows).__name__}")
    yield from rows


def _csv(path: Path) -> Iterator[Any]:
    try:
        yield from csv.DictReader(io.StringIO(read_text(path), newline=""))
    except csv.Error as error:
        raise DataError(f"data.prompts {path}: not CSV that can be read ({error}); save the file as JSONL") from None


def _parquet(path: Path) -> Iterator[Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"data.prompts {path}: reading Parquet needs pyarrow: {INSTALL}; or save the file as JSONL"
        ) from None
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).split("\n", 1)[0]
        raise DataError(f"data.prompts {path}: not a Parquet file that can be read ({first})") from None
