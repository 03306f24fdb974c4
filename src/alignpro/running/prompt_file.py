"""A file of prompts rewritten line by line into another, which goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignpro.config import DataSettings
from alignpro.data.columns import as_rows
from alignpro.data.origin import Origin
from alignpro.data.reading import read
from alignpro.errors import DataError, RunFailure, RunFolderTaken, UsageError
from alignpro.rng import derive
from alignpro.running.rewriter import Rewriter
from alignpro.runtime import files
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.progress import Progress
from alignpro.types import Prompt

OURS = ("rewrite", "failure")
"""Columns that a line has beside those of its row."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its columns as they were, with `prompt` where none is called so, and its prompt, or why it has none."""

    columns: Mapping[str, Any]
    prompt: Prompt | None
    failure: str | None


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a file, and the file that their rewrites are written to, a line for each row, as JSON.

    `there` are the whole lines that it holds already. OUT.made.json beside it says what makes its lines, so that it
    goes on as it was begun or not at all. `notes` are lines for the user.
    """

    lines: Sequence[Line]
    out: Path
    there: Sequence[bytes]
    notes: Sequence[str]

    @classmethod
    def open(cls, settings: DataSettings, out: Path, resume: bool = False) -> PromptFile:
        """Read the prompts that the settings name, in any form that data may have, and what `out` holds.

        With `resume` it is gone on with. Raises RunFolderTaken where it holds anything without, UsageError where it
        cannot be read, DataError, HubUnreachable.
        """
        try:
            there = out.read_bytes().split(b"\n")[:-1] if out.exists() else []
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be read ({error.strerror}); give another file") from None
        if not resume and out.exists() and out.stat().st_size:
            raise RunFolderTaken(
                f"--out {out} holds {len(there)} lines; go on with it by --resume, or give another file"
            )
        lines, notes = _lines(settings)
        return cls(lines, out, there, notes)

    @property
    def made(self) -> Path:
        """What makes the lines."""
        return self.out.with_name(f"{self.out.name}.made.json")

    def rewrite(self, rewriter: Rewriter, seed: int, progress: Progress, stop: StopRequest) -> Counter[str]:
        """Write the lines that are missing, `rewriter.batch` at a time; how many of all failed, by reason.

        However often it is stopped, the lines are those of an uninterrupted run. Raises UsageError where it was begun
        otherwise, Interrupted, RunFailure, and as `Rewriter.rewrite`.
        """
        size = rewriter.batch
        there = self._begin({"seed": seed, "prompts at a time": size, **rewriter.described()})
        done = len(self.lines) if len(there) == len(self.lines) else len(there) // size * size
        failures = Counter(_reasons(json.loads(line) for line in there[:done]))
        length = sum(len(line) + 1 for line in there[:done])
        if self.out.exists():
            os.truncate(self.out, length)  # a torn line, and those of prompts that were under way
        with progress.task("rewriting", len(self.lines)) as advance:
            advance(done, "")
            for start in range(done, len(self.lines), size):
                stop.check()
                rows = _rewritten(rewriter, self.lines[start : start + size], derive(seed, "lines", start))
                if length != (self.out.stat().st_size if self.out.exists() else 0):
                    raise RunFailure(f"--out {self.out} is written by another process too; end one of them")
                files.append_jsonl(self.out, rows)
                length = self.out.stat().st_size
                failures.update(_reasons(rows))
                advance(start + len(rows), f"{failures.total()} failed" if failures else "")
        return failures

    def _begin(self, told: Mapping[str, Any]) -> Sequence[bytes]:
        """The lines that stand; what makes them is written down, or must be what made them."""
        read = hashlib.blake2b(digest_size=16)
        for line in self.lines:
            read.update(json.dumps([line.columns, line.prompt and line.prompt.key, line.failure]).encode())
        made = {"rows": len(self.lines), "digest of the rows": read.hexdigest(), **told}
        if not self.there:
            try:
                self.out.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"--out {self.out}: cannot be written ({error.strerror}); give another file") from None
            files.write_json(self.made, made)
            return ()
        held = files.read_json(self.made)
        if held is None:
            raise UsageError(
                f"--out {self.out}: {self.made.name}, which says what made it, is missing; give another file"
            )
        if differing := [
            f"{key} was {held.get(key)}, now {value}" for key, value in made.items() if held.get(key) != value
        ]:
            raise UsageError(f"--resume: {self.out} was begun otherwise: {'; '.join(differing[:3])}; give another file")
        if len(self.there) > len(self.lines):
            raise UsageError(
                f"--out {self.out} holds {len(self.there)} lines for {len(self.lines)} rows; give another file"
            )
        return self.there


def _lines(settings: DataSettings) -> tuple[list[Line], list[str]]:
    """Every row of the file in its order, and lines for the user."""
    origin = replace(Origin.of(settings), setting="--file")
    reading = read(origin, settings)
    columns, left_out = as_rows([row if isinstance(row, dict) else {} for row in reading.rows])
    if taken := [name for name in OURS if columns and name in columns[0]]:
        raise DataError(
            f"{origin.said}: it has a column {' and '.join(taken)} of its own; rename it, for lines get ours"
        )
    others, _ = as_rows(reading.others)
    prompts = (replace(r.prompt, row=row) for r, row in zip(reading.records, others, strict=True))
    lines = []
    for row, held, reason in zip(reading.rows, columns, reading.reasons, strict=True):
        prompt = next(prompts) if reason is None else None
        kept = {name: held[name] for name in held if isinstance(row, dict) and name in row}
        told = {"prompt": prompt.text} if prompt and "prompt" not in kept else {}
        lines.append(Line(told | kept, prompt, reason))
    notes = list(reading.notes)
    if left_out:
        notes.append(f"columns left out, since they hold bytes or the like: {', '.join(left_out)}")
    return lines, notes


def _rewritten(rewriter: Rewriter, lines: Sequence[Line], seed: int) -> list[dict[str, Any]]:
    made = iter(rewriter.rewrite([line.prompt for line in lines if line.prompt], seed=seed))
    rows = []
    for line in lines:
        one = next(made) if line.prompt else None
        failure = one.failure if one else line.failure
        rows.append({**line.columns, "rewrite": one and one.text} | ({"failure": failure} if failure else {}))
    return rows


def _reasons(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Why rows have no rewrite, each in the words that do not differ from prompt to prompt."""
    return (row["failure"].partition(": ")[0] for row in rows if "failure" in row)
