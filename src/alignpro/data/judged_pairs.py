"""Pairs of answers that people have judged, to measure a judge by."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro.data.conversations import prompt_of
from alignpro.errors import DataError, UnusableRow
from alignpro.types import Prompt, Verdict

FIELDS = ("instruction", "response1", "response2")
_ANNOTATOR = re.compile(r"annotator\d+")
_SAID: dict[object, Verdict] = {0: "tie", 1: "a", 2: "b"}


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A prompt, two answers, and what each person said of them."""

    prompt: Prompt
    a: str
    b: str
    verdicts: tuple[Verdict, ...]


def load_judged_pairs(path: Path) -> tuple[list[JudgedPair], dict[str, int]]:
    """Pairs of a JSON list, or of JSON lines, and how many rows were left out for which reason.

    A row has `instruction`, `input` (may be empty or missing), `response1`, `response2`, and `annotator1`,
    `annotator2`, ...: 0 a tie, 1 the first answer, 2 the second. The instruction is a text or turns, the last of them
    the user's. Raises DataError.
    """
    rows = _rows(path)
    pairs: list[JudgedPair] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        people = [row[name] for name in sorted(row) if _ANNOTATOR.fullmatch(name)] if isinstance(row, Mapping) else []
        if not isinstance(row, Mapping) or not all(isinstance(row.get(name), str) for name in FIELDS[1:]):
            dropped["an answer is no text"] += 1
        elif len(people) < 2:
            dropped["fewer than two people judged it"] += 1
        elif not all(type(said) is int and said in _SAID for said in people):
            dropped["a verdict that is not 0, 1 or 2"] += 1
        else:
            asked, more = row.get("instruction"), row.get("input")
            try:
                prompt = prompt_of(f"{asked}\n\n{more}" if more and isinstance(asked, str) else asked)
            except UnusableRow as error:
                dropped[str(error)] += 1
                continue
            verdicts = tuple(_SAID[said] for said in people)
            pairs.append(JudgedPair(prompt, row["response1"], row["response2"], verdicts))
    if not pairs:
        held = ", ".join(sorted(rows[0])) if rows and isinstance(rows[0], Mapping) else "nothing of the kind"
        raise DataError(
            f"{path}: no pair that people have judged; wanted instruction, response1, response2, annotator1,"
            f" annotator2 with 0, 1 or 2; found {held}"
        )
    return pairs, dict(dropped)


def _rows(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--agreement {path}: cannot be read ({error}); give a JSON file of judged pairs") from None
    try:
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except ValueError as error:
        raise DataError(f"--agreement {path}: is no JSON ({error}); give a JSON list or JSON lines") from None
    return rows if isinstance(rows, list) else [rows]
