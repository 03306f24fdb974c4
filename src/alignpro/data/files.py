"""Rows of a TXT, JSONL, JSON, CSV or Parquet file, compressed by gzip or not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alignpro.errors import DataError, UnusableRow

INSTALL = "pip install 'alignpro[data]'"
MORE_CELLS = "more cells than the file has columns (a comma without quotes)"


def rows_of(path: Path, column: str, setting: str = "data.prompts") -> Iterator[Any]:
    """Rows in the order of the file, as they are; a line of a TXT file is a row with the one field `column`.

    In the place of a row that cannot be read stands an UnusableRow. Errors name `setting` beside the file. Raises
    DataError.
    """
    said = f"{setting} {path}"
    kind = kind_of(path)
    if kind not in READERS:
        raise DataError(f"{said}: a file ending in {', '.join(READERS)} is wanted, with .gz or without")
    return READERS[kind](_bytes(path, said), said, column)


def kind_of(path: Path) -> str:
    """What the file's name ends in, in lower case and without .gz."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _bytes(path: Path, said: str) -> bytes:
    try:
        held = path.read_bytes()
        return gzip.decompress(held) if path.suffix.lower() == ".gz" else held
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{said}: not a gzip file that can be read ({error})") from None
    except OSError as error:
        raise DataError(f"{said}: cannot be read ({error.strerror})") from None


def _text(held: bytes, said: str) -> str:
    try:
        return held.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{said}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def _txt(held: bytes, said: str, column: str) -> Iterator[Any]:
    yield from ({column: line} for line in _text(held, said).split("\n") if line.strip())


def _jsonl(held: bytes, said: str, column: str) -> Iterator[Any]:
    for number, line in enumerate(_text(held, said).split("\n"), 1):  # on \n alone: rows may hold U+2028
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{said}, line {number}: not JSON ({error.msg})") from None


def _json(held: bytes, said: str, column: str) -> Iterator[Any]:
    try:
        rows = json.loads(_text(held, said))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{said}, line {error.lineno}: not JSON ({error.msg}); name a file of one row a line .jsonl"
        ) from None
    if isinstance(rows, dict) and isinstance(rows.get("data"), list):
        rows = rows["data"]
    if not isinstance(rows, list):
        raise DataError(f"{said}: a list of rows is wanted, or one under data, found {type(rows).__name__}")
    yield from rows


def _csv(held: bytes, said: str, column: str) -> Iterator[Any]:
    try:
        for row in csv.DictReader(io.StringIO(_text(held, said), newline="")):
            yield UnusableRow(MORE_CELLS) if any(row.pop(None, ())) else row
    except csv.Error as error:
        raise DataError(f"{said}: not CSV that can be read ({error}); save the file as JSONL") from None


def _parquet(held: bytes, said: str, column: str) -> Iterator[Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{said}: reading Parquet needs pyarrow: {INSTALL}; or save the file as JSONL") from None
    try:
        for batch in parquet.ParquetFile(io.BytesIO(held)).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).split("\n", 1)[0]
        raise DataError(f"{said}: not a Parquet file that can be read ({first})") from None


READERS: dict[str, Callable[[bytes, str, str], Iterator[Any]]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
"""What a file's name may end in, and how such a file is read."""
