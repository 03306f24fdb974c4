"""Text, JSON and JSON lines: written whole or not at all, by the first of several processes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alignpro.errors import RunFailure
from alignpro.runtime import processes


def write_text(path: Path, text: str) -> None:
    """Write a file whole or leave what was there. Raises RunFailure where it cannot be written."""
    processes.by_first(lambda: _write_text(path, text))


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _not_written(path, error) from None


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Write JSON; nan and infinities, which JSON lacks, become null."""
    write_text(path, json.dumps(_plain(tree), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where there is none or it cannot be read."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return tree if isinstance(tree, dict) else None


def append_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add a line for each row. Raises RunFailure where they cannot be written."""
    processes.by_first(lambda: append_alone(path, rows))


def append_alone(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """As `append_jsonl`, in this process whatever others do, also from a thread. Raises RunFailure."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> RunFailure:
    return RunFailure(f"{path} could not be written ({error.strerror}); free some space and go on with --resume")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a file; a torn last line is left out, a missing file has none."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def keep_rows(path: Path, keep: Any) -> None:
    """Rewrite a JSONL file with the rows for which `keep(row)` holds, e.g. those before the step resumed from."""

    def rewrite() -> None:
        if rows := read_jsonl(path):
            write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows if keep(row)))

    processes.by_first(rewrite)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
