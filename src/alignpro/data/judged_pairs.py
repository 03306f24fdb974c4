"""Pairs of answers that people have judged, to measure a judge by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignpro.data.conversations import prompt_of
from alignpro.data.files import rows_of
from alignpro.data.records import Before
from alignpro.data.texts import clean, kind
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
    """Pairs of a file of any kind that prompts may come in, and how many rows were left out for which reason.

    A row has `instruction`, `input` (may be empty or missing), `response1`, `response2`, and `annotator1`,
    `annotator2`, ...: 0 a tie, 1 the first answer, 2 the second; `system` and `history` may stand beside them. The
    instruction is a text or turns, the last of them the user's. Raises DataError.
    """
    rows = rows_of(path, FIELDS[0], "--agreement").held
    pairs: list[JudgedPair] = []
    dropped: Counter[str] = Counter()
    for row in rows:
        try:
            pairs.append(_pair(row))
        except UnusableRow as error:
            dropped[str(error)] += 1
    if not pairs:
        held = ", ".join(sorted(rows[0])) if rows and isinstance(rows[0], Mapping) else "nothing of the kind"
        raise DataError(
            f"--agreement {path}: no pair that people have judged; wanted instruction, response1, response2,"
            f" annotator1, annotator2 with 0, 1 or 2; found {held}"
        )
    return pairs, dict(dropped)


def _pair(row: Any) -> JudgedPair:
    if isinstance(row, UnusableRow):
        raise row
    if not isinstance(row, Mapping):
        raise UnusableRow(f"{kind(row)} for a row")
    a, b = (clean(row.get(name), "an answer is wanted") for name in FIELDS[1:])
    people = [row[name] for name in sorted(row) if _ANNOTATOR.fullmatch(name)]
    if len(people) < 2:
        raise UnusableRow("fewer than two people judged it")
    said = [int(one) if one in ("0", "1", "2") else one for one in people]
    if not all(type(one) is int and one in _SAID for one in said):
        raise UnusableRow("a verdict that is not 0, 1 or 2")
    asked, more = row.get("instruction"), row.get("input")
    if not isinstance(asked, (str, list)):
        raise UnusableRow(f"{kind(asked)} under 'instruction'")
    asked = f"{asked}\n\n{more}" if more and isinstance(asked, str) else asked
    before = Before(*(row.get(name) for name in Before._fields))
    return JudgedPair(prompt_of(asked, *before), a, b, tuple(_SAID[one] for one in said))
