"""Rows of a TXT, JSONL, JSON, CSV, TSV or Parquet file, compressed by gzip or not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro.data.texts import BAD_SHARE, decoded, kind
from alignpro.errors import DataError, UnusableRow
from alignpro.runtime.progress import watched

INSTALL = "pip install 'alignpro[data]'"
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in the order of their source, as they are: in the place of one that cannot be read an UnusableRow.

    `numbers` are the lines (or whatever `unit` says) at which they stand; `form` is what they were read as.
    """

    held: Sequence[Any]
    numbers: Sequence[int]
    form: str
    unit: str = "row"

    @classmethod
    def of(cls, rows: Iterable[Any], form: str) -> Rows:
        """Rows that are counted from 1."""
        held = list(rows)
        return cls(held, range(1, len(held) + 1), form)

    def where(self, reasons: Sequence[str | None]) -> list[str]:
        """Each reason why rows are left out, the commonest first, with their number and where the first of them are."""
        places: dict[str, list[int]] = {}
        for number, reason in zip(self.numbers, reasons, strict=True):
            if reason is not None:
                places.setdefault(reason, []).append(number)
        return [
            f"{len(at)} {reason} ({self.unit}{'s' if len(at) > 1 else ''} {', '.join(map(str, at[:5]))}"
            f"{', ...' if len(at) > 5 else ''})"
            for reason, at in sorted(places.items(), key=lambda both: -len(both[1]))
        ]


def rows_of(path: Path, column: str, setting: str = "data.prompts") -> Rows:
    """Rows of a file; a line of a TXT file is a row with the one field `column`.

    A row that cannot be read takes one of them; a file that is not what its name says is refused, with the line. Errors
    name `setting` beside the file. Raises DataError.
    """
    said = f"{setting} {path}"
    ending = kind_of(path)
    if ending not in READERS:
        raise DataError(f"{said}: a file ending in {', '.join(READERS)} is wanted, with .gz or without")
    return READERS[ending](_bytes(path, said), said, column)


def kind_of(path: Path) -> str:
    """What the file's name ends in, in lower case and without .gz."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _bytes(path: Path, said: str) -> bytes:
    """What the file holds, unpacked where its name or its first bytes say that it is packed."""
    try:
        held = path.read_bytes()
        return gzip.decompress(held) if path.suffix.lower() == ".gz" or held.startswith(_GZIP) else held
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{said}: not a gzip file that can be read ({error})") from None
    except OSError as error:
        raise DataError(f"{said}: cannot be read ({error.strerror})") from None


def _txt(held: bytes, said: str, column: str) -> Rows:
    lines = [(i, line) for i, line in enumerate(decoded(held, said).split("\n"), 1) if line.strip()]
    return Rows([{column: line} for _, line in lines], [i for i, _ in lines], "prompts, one a line", "line")


def _jsonl(held: bytes, said: str, column: str) -> Rows:
    return _json_lines(decoded(held, said), said)


def _json_lines(text: str, said: str) -> Rows:
    rows: list[Any] = []
    numbers: list[int] = []
    lines = text.split("\n")  # on \n alone: rows may hold U+2028
    for number, line in enumerate(watched(lines, f"reading {said}"), 1):
        line = line.strip("\ufeff \t")
        if line:
            rows.append(_row(line))
            numbers.append(number)
    _refuse(rows, numbers, said)
    return Rows(rows, numbers, "JSON, a row a line", "line")


def _row(line: str) -> Any:
    """The one value of a text, or why it has none."""
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return UnusableRow(_why(error))


def _why(error: Exception) -> str:
    told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return f"not JSON ({'nested too deeply' if isinstance(error, RecursionError) else told.partition(';')[0]})"


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {key!r} stands twice")
    return tree


_DECODER = json.JSONDecoder(object_pairs_hook=_each_key_once)


def _refuse(rows: Sequence[Any], numbers: Sequence[int], said: str) -> None:
    """Raise DataError where so many rows cannot be read that the file is something else."""
    bad = [(number, row) for number, row in zip(numbers, rows, strict=True) if isinstance(row, UnusableRow)]
    if len(bad) > BAD_SHARE * len(rows):
        rest = f"; so are {len(bad) - 1} more of {len(rows)} lines" if len(bad) > 1 else ""
        raise DataError(f"{said}, line {bad[0][0]}: {bad[0][1]}{rest}")


def _json(held: bytes, said: str, column: str) -> Rows:
    text = decoded(held, said)
    if text.lstrip().startswith("["):
        elements = list(_elements(text, said))
        rows, numbers = [row for row, _ in elements], [number for _, number in elements]
        _refuse(rows, numbers, said)
        return Rows(rows, numbers, "JSON, a list of rows", "line")
    try:
        tree = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return _json_lines(text, said)
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{said}{line}: {_why(error)}; name a file of one row a line .jsonl") from None
    if isinstance(tree, dict) and isinstance(tree.get("data"), list):
        return Rows.of(tree["data"], "JSON, the list under data")
    if isinstance(tree, dict):
        return Rows([tree], [1], "JSON, one row", "line")
    raise DataError(f"{said}, line 1: a list of rows is wanted, or one under data, found {kind(tree)}")


def _elements(text: str, said: str) -> Iterator[tuple[Any, int]]:
    """Elements of the list that a text is, and the lines where they begin."""
    plain, line, counted = json.JSONDecoder(), 1, 0

    def refused(error: Exception, at: int) -> DataError:
        return DataError(f"{said}, line {text.count(chr(10), 0, at) + 1}: {_why(error)}")

    at = _next(text, text.index("[") + 1)
    while at < len(text) and text[at] != "]":
        line, counted = line + text.count("\n", counted, at), at
        try:
            row, end = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise refused(error, error.pos) from None
        except RecursionError as error:
            raise refused(error, at) from None
        except ValueError as error:
            row, end = UnusableRow(_why(error)), plain.raw_decode(text, at)[1]
        yield row, line
        at = _next(text, end)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
            if text[at : at + 1] != "]":
                continue
        elif text[at : at + 1] == "]":
            continue
        raise refused(ValueError("a comma and another row, or the end of the list, is missing"), at)
    if rest := text[at + 1 :].strip():
        raise refused(ValueError(f"{rest[:20]!r} after the end of the list"), at)
    if at >= len(text):
        raise refused(ValueError("the list has no end"), at)


def _next(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\t"):
        at += 1
    return at


def _csv(held: bytes, said: str, column: str) -> Rows:
    text = decoded(held, said)
    return _cells(text, said, _separator(text, column))


def _tsv(held: bytes, said: str, column: str) -> Rows:
    return _cells(decoded(held, said), said, "\t")


def _separator(text: str, column: str) -> str:
    """What parts the cells of the header: what leaves the column, or else the first that leaves several."""
    line = text.lstrip("\n").partition("\n")[0]
    headers = {mark: [name.strip() for name in next(csv.reader([line], delimiter=mark), [])] for mark in SEPARATORS}
    named = (mark for mark, names in headers.items() if column in names)
    several = (mark for mark, names in headers.items() if len(names) > 1)
    return next(named, next(several, ","))


def _cells(text: str, said: str, mark: str) -> Rows:
    """Rows of cells under a header. Raises DataError with the line where a row has more cells or fewer."""
    numbers: list[int] = []
    rows: list[dict[str, str]] = []
    header: list[str] | None = None
    limit, line = csv.field_size_limit(2**31 - 1), 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        for cells in watched(reader, f"reading {said}", text.count("\n")):
            if len(cells) > 1 or "".join(cells).strip():
                if header is None:
                    header = _header(cells, f"{said}, line {line}")
                elif len(cells) != len(header):
                    raise DataError(
                        f"{said}, line {line}: {len(cells)} cells where the header has {len(header)}; a cell with"
                        f" {SEPARATORS[mark]}, quotes or line breaks in it must stand in double quotes"
                    )
                else:
                    rows.append(dict(zip(header, cells, strict=True)))
                    numbers.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        told = "a quote that is never closed" if "unexpected end" in str(error) else str(error)
        raise DataError(
            f"{said}, line {line}: not CSV that can be read ({told}); a quote within a quoted cell is written twice; or"
            " save the file as JSONL"
        ) from None
    finally:
        csv.field_size_limit(limit)
    return Rows(rows, numbers, f"cells parted by {SEPARATORS[mark]}", "line")


def _header(cells: Sequence[str], said: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{said}: more than one column is called {', '.join(map(repr, twice))}; give each its own name")
    return names


def _parquet(held: bytes, said: str, column: str) -> Rows:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{said}: reading Parquet needs pyarrow: {INSTALL}; or save the file as JSONL") from None
    try:
        file = parquet.ParquetFile(io.BytesIO(held))
        if twice := [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]:
            raise DataError(f"{said}: more than one column is called {', '.join(map(repr, twice))}")
        return Rows.of((row for batch in file.iter_batches() for row in batch.to_pylist()), "Parquet")
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).split("\n", 1)[0]
        raise DataError(f"{said}: not a Parquet file that can be read ({first})") from None


READERS: dict[str, Callable[[bytes, str, str], Rows]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
"""What a file's name may end in, and how such a file is read."""
