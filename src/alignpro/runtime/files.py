"""Text, JSON and JSON lines: written whole or not at all, by the first of several processes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from alignpro.errors import DamagedResult, RunFailure
from alignpro.runtime import processes

T = TypeVar("T")
DELETE_LINE = "delete that line, or put the file back as it was"
CHECK = "check"
_CHECK = re.compile(rb', "check": "([0-9a-f]{12})"}\s*$')


def write_text(path: Path, text: str) -> None:
    """Write a file whole or leave what was there. Raises RunFailure where it cannot be written."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`."""
    processes.by_first(lambda: _write_bytes(path, data))


def _write_bytes(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise not_written(path, error) from None


def write_json(path: Path, tree: Mapping[str, Any], *, checked: bool = False) -> None:
    """Write JSON, with `checked` a digest of it too; nan and infinities, which JSON lacks, become null."""
    plain = _plain(tree)
    if checked:
        plain[CHECK] = _tree_digest(plain)
    try:
        text = json.dumps(plain, indent=1, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
        text = json.dumps(plain, indent=1)
    write_text(path, text + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where there is none, or it cannot be read or does not match its digest."""
    try:
        return tree_of(path.read_bytes())
    except (OSError, ValueError):
        return None


def tree_of(data: bytes) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError for what is none, or not the one that its digest is of."""
    try:
        tree = json.loads(data.decode())
    except ValueError:
        raise ValueError("is not complete JSON") from None
    if not isinstance(tree, dict):
        raise ValueError("is not complete JSON: an object is wanted")
    if CHECK in tree and tree.pop(CHECK) != _tree_digest(tree):
        raise ValueError(f"does not match its checksum; where a change is meant, delete its {CHECK!r}")
    return tree


def digest(path: Path) -> str:
    """Of what a file holds, read a part at a time. Raises OSError."""
    whole = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            whole.update(part)
    return whole.hexdigest()


def append_jsonl(path: Path, rows: Iterable[Mapping[str, Any]], *, checked: bool = False) -> None:
    """Add a line for each row, after the last whole one; with `checked` each carries a digest of itself, which
    `read_jsonl` compares. Raises RunFailure where they cannot be written."""
    processes.by_first(lambda: append_alone(path, rows, checked=checked))


def append_alone(path: Path, rows: Iterable[Mapping[str, Any]], *, checked: bool = False) -> None:
    """As `append_jsonl`, in this process whatever others do, also from a thread. Raises RunFailure."""
    lines = [_line(row) for row in rows]
    try:
        _end_line(path)
        with path.open("ab") as file:
            file.writelines((_with_check(line) if checked else line) + b"\n" for line in lines)
    except OSError as error:
        raise not_written(path, error) from None


def _end_line(path: Path) -> None:
    """Take off a torn last line, so that the next row is not glued to it; one that only lacks its end is ended."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        data = file.read()
        last = data.rfind(b"\n") + 1
        try:
            row_of(data[last:])
        except ValueError:
            file.truncate(last)
        else:
            file.write(b"\n")


def not_written(path: Path | str, error: Exception) -> RunFailure:
    """The failure of a write, with what helps against it."""
    return RunFailure(f"{path} could not be written ({cause(error)}); {remedy(error)} and go on with --resume")


def cause(error: Exception) -> str:
    """What the system says of a failed write, in one line."""
    told = error.strerror if isinstance(error, OSError) else None
    return " ".join((told or str(error) or type(error).__name__).split())


def remedy(error: Exception) -> str:
    """What helps against a failed write: space, or the right to write."""
    if getattr(error, "errno", None) in _NO_RIGHT:
        return "make it writable"
    full = getattr(error, "errno", None) in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "free some space" if full else "mend the disk"


_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


def read_jsonl(path: Path, mend: str = DELETE_LINE) -> list[dict[str, Any]]:
    """Rows of a file; a torn last line is left out, a missing file has none.

    Raises DamagedResult, with file, line and `mend`, for any other line that is not a whole row.
    """
    return parsed_rows(path, lambda row: row, mend)


def parsed_rows(path: Path, parse: Callable[[dict[str, Any]], T], mend: str = DELETE_LINE) -> list[T]:
    """What `parse` makes of the rows of a file, as `read_jsonl` reads them; a row that lacks a key that it wants, or
    has another type there, is damaged too."""
    rows = []
    for number, line in _lines(path):
        try:
            rows.append(parse(row_of(line)))
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise _damaged(path, number, _fault(error), mend) from None
    return rows


def row_of(line: bytes) -> dict[str, Any]:
    """The row of a line. Raises ValueError for one that is no JSON object, or not the one that its digest is of."""
    if found := _CHECK.search(line):
        line = line[: found.start()] + b"}"
        if _digest(line) != found[1]:
            raise ValueError("its contents do not match its checksum")
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start + 1})") from None
    except ValueError:
        raise ValueError("it is torn, or no JSON") from None
    if not isinstance(row, dict):
        raise ValueError(f"a JSON object is wanted; found {type(row).__name__}")
    return row


def keep_rows(path: Path, keep: Callable[[dict[str, Any]], bool], *, drop_damaged: bool = False) -> int:
    """Rewrite a JSONL file with the rows for which `keep(row)` holds, e.g. those of models that are still the same.

    Raises DamagedResult as `read_jsonl`, or drops what is damaged. Returns how many lines were.
    """

    def rewrite() -> int:
        kept: list[bytes] = []
        damaged = 0
        for number, line in _lines(path):
            try:
                stays = keep(row_of(line))
            except (ValueError, KeyError, TypeError) as error:
                if not drop_damaged:
                    raise _damaged(path, number, _fault(error), DELETE_LINE) from None
                damaged += 1
                continue
            if stays:
                kept.append(line + b"\n")
        if path.is_file() and path.read_bytes() != (whole := b"".join(kept)):
            write_bytes(path, whole)
        return damaged

    return processes.by_first(rewrite)


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """The lines of a file that hold anything, with their numbers; a torn last one is left out."""
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DamagedResult(f"{path} could not be read ({error.strerror}); make it readable") from None
    try:
        row_of(lines[-1])
    except ValueError:
        lines.pop()
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _damaged(path: Path, number: int, why: str, mend: str) -> DamagedResult:
    return DamagedResult(f"{path}, line {number}: {why}; {mend}")


def _tree_digest(tree: Mapping[str, Any]) -> str:
    return _digest(json.dumps(tree).encode()).decode()


def _line(row: Mapping[str, Any]) -> bytes:
    plain = _plain(row)
    try:
        return json.dumps(plain, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
        return json.dumps(plain).encode()


def _fault(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())


def _with_check(line: bytes) -> bytes:
    return line[:-1] + b', "check": "' + _digest(line) + b'"}'


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=6).hexdigest().encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
