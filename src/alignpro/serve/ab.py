"""What rewriting gained and what it cost, from the log of a server: the comparison behind `alignpro ab`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignpro.data.files import rows_of
from alignpro.errors import DataError, UsageError
from alignpro.maths.confidence_sequences import LEAST, asymptotic, bounded
from alignpro.results import Estimate
from alignpro.serve.audit import Arm, Row
from alignpro.types import FloatArray

Value = Callable[[Row], float | None]
ARMS: tuple[Arm, Arm] = ("rewritten", "original")
METRICS: dict[str, Value] = {
    "reward": lambda row: row.reward,
    "answered": lambda row: float(row.status == 200 and row.ended == "whole"),
    "input_tokens": lambda row: None if row.usage is None else row.usage.input_tokens,
    "output_tokens": lambda row: None if row.usage is None else row.usage.output_tokens,
    "first_byte_ms": lambda row: row.first_byte_ms,
    "upstream_ms": lambda row: row.upstream_ms,
}
"""What the log itself can tell of a row."""
THUMBS = {"up": 1.0, "down": 0.0, "true": 1.0, "false": 0.0, "👍": 1.0, "👎": 0.0, "yes": 1.0, "no": 0.0}
NAMES = ("id", "answer_id")
"""Columns of a file of scores that say which answer is meant."""


@dataclass(frozen=True)
class Side:
    """One arm: conversations that count, their mean, and what its rows took; nan where the log does not tell."""

    units: int
    mean: float
    rows: int
    answered: float
    input_tokens: float
    output_tokens: float
    first_byte_ms: float
    money: float


@dataclass(frozen=True)
class Rewriting:
    """What became of the rows that were to be rewritten: how many were, why others were not, tokens of x' less those
    of x, and the milliseconds that it took, at the median and the 99th percentile."""

    rows: int
    sent: int
    reasons: dict[str, int]
    tokens_added: float
    ms_median: float
    ms_p99: float


@dataclass(frozen=True)
class Compared:
    """`difference` is the mean of what was rewritten less that of what was not, with an interval that holds at every
    look together; `pairs` are the differences it is made of. `looks` are the intervals after each pair."""

    metric: str
    paired: bool
    bounds: tuple[float, float] | None
    pairs: int
    difference: Estimate
    sides: dict[str, Side]
    rewriting: Rewriting
    left_out: int
    """Scored rows of conversations that count already."""
    looks: tuple[FloatArray, FloatArray] = field(repr=False, compare=False)

    def tree(self) -> dict[str, Any]:
        """As JSON has it, nan for what is undefined."""
        whole = asdict(self)
        del whole["looks"]
        interval = {"value": self.difference.value, "ci95": self.difference.ci95, "why": self.difference.why}
        return whole | {"difference": interval}


def compare(
    rows: Iterable[Row],
    value: Value,
    metric: str,
    bounds: tuple[float, float] | None = None,
    paired: bool = False,
    prices: tuple[float, float] | None = None,
) -> Compared:
    """Compare what was rewritten with what was not.

    Unpaired, a conversation (`unit`) counts once, by the first of its rows that has a value, in the arm that it was
    assigned to, whatever became of the rewrite; the k-th of one arm is set against the k-th of the other, so that
    differences are independent however the looks fall. Paired, the first values of either arm on the same prompt
    (`x_digest`) are set against each other, by what was sent. `bounds` are those that no value can leave; `prices` are
    of a million tokens in and out. Raises UsageError where nothing can be compared.
    """
    ordered = sorted(rows, key=lambda row: row.time)
    scored = [
        (row, float(known))
        for row in ordered
        if _arm(row, paired) is not None and (known := value(row)) is not None and math.isfinite(known)
    ]
    picked = _paired(scored) if paired else _in_order(scored)
    counted: dict[str, list[float]] = {arm: [one[arm] for one in picked.values() if arm in one] for arm in ARMS}
    if not all(counted.values()):
        told = ", ".join(f"{len(counted[arm])} {arm}" for arm in ARMS)
        raise UsageError(
            f"nothing to compare by {metric}: {told}; "
            + ("no prompt was sent both ways" if paired else "serve with --ab 0.5, and give --scores with both arms")
        )
    if paired:
        differences = [one["rewritten"] - one["original"] for one in picked.values() if len(one) == 2]
    else:
        differences = [a - b for a, b in zip(counted["rewritten"], counted["original"], strict=False)]
    looks, why = _sequence(np.array(differences), bounds)
    means = {arm: float(np.mean(counted[arm])) for arm in ARMS}
    return Compared(
        metric,
        paired,
        bounds,
        len(differences),
        Estimate(float(np.mean(differences)), float(looks[0][-1]), float(looks[1][-1]), why),
        {arm: _side(arm, ordered, counted[arm], means[arm], paired, prices) for arm in ARMS},
        _rewriting(ordered),
        len(scored) - sum(map(len, counted.values())),
        looks,
    )


def _arm(row: Row, paired: bool) -> Arm | None:
    return row.arm if paired else row.assigned if row.mode == "ab" else None


def _in_order(scored: Sequence[tuple[Row, float]]) -> dict[str, dict[str, float]]:
    """The first value of each conversation, by its arm."""
    picked: dict[str, dict[str, float]] = {}
    for row, known in scored:
        if (arm := _arm(row, False)) is not None and row.unit not in picked:
            picked[row.unit] = {arm: known}
    return picked


def _paired(scored: Sequence[tuple[Row, float]]) -> dict[str, dict[str, float]]:
    """The first values of both arms on each prompt, in the order in which they were complete; one prompt of each
    conversation."""
    open_: dict[str, dict[str, float]] = {}
    done: dict[str, dict[str, float]] = {}
    for row, known in scored:
        both = open_.setdefault(row.x_digest, {})
        both.setdefault(row.arm, known)
        if len(both) == 2:
            done.setdefault(row.unit, both)
    return done


def _sequence(differences: FloatArray, bounds: tuple[float, float] | None) -> tuple[tuple[FloatArray, FloatArray], str]:
    if bounds is not None:
        width = bounds[1] - bounds[0]
        return bounded(differences, -width, width), ""
    looks = asymptotic(differences)
    why = f"under {LEAST} pairs" if len(differences) < LEAST else "all differences alike"
    return looks, "" if np.isfinite(looks[0][-1]) else why


def _side(
    arm: Arm,
    rows: Sequence[Row],
    counted: Sequence[float],
    mean: float,
    paired: bool,
    prices: tuple[float, float] | None,
) -> Side:
    own = [row for row in rows if _arm(row, paired) == arm]

    def of(metric: str) -> float:
        return _mean([METRICS[metric](row) for row in own])

    tokens_in, tokens_out = of("input_tokens"), of("output_tokens")
    money = math.nan if prices is None else (prices[0] * tokens_in + prices[1] * tokens_out) / 1e6
    return Side(len(counted), mean, len(own), of("answered"), tokens_in, tokens_out, of("first_byte_ms"), money)


def _rewriting(rows: Sequence[Row]) -> Rewriting:
    asked = [row for row in rows if row.assigned == "rewritten"]
    reasons = Counter(row.reason or "no reason" for row in asked if row.arm == "original")
    waits = [row.rewrite_ms for row in asked if row.rewrite_ms is not None]
    median, p99 = np.percentile(waits, [50, 99]) if waits else (math.nan, math.nan)
    return Rewriting(
        len(asked),
        sum(row.arm == "rewritten" for row in asked),
        dict(reasons.most_common()),
        _mean([row.tokens_added for row in asked if row.arm == "rewritten"]),
        float(median),
        float(p99),
    )


def _mean(values: Iterable[float | None]) -> float:
    """Of those that are known; nan where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan


def scores_in(path: Path, column: str | None) -> tuple[Value, str, bool]:
    """The values of a file of rows that name an answer by `id` or `answer_id`; the column's name; and whether all are
    thumbs, which lie between 0 and 1. Raises DataError."""
    found: dict[tuple[str, str], float] = {}
    words = True
    for number, row in enumerate(rows_of(path, "id", "--scores").held, 1):
        if not isinstance(row, Mapping) or not (named := [name for name in NAMES if row.get(name)]):
            raise DataError(f"--scores {path}, row {number}: no {' or '.join(NAMES)}; name the answer by one of them")
        column = column or next((name for name in row if name not in (*NAMES, "index", "arm", "time")), None)
        if column is None or column not in row:
            raise DataError(f"--scores {path}, row {number}: no column {column or 'with a score'}; give --column")
        known, word = _score(row[column])
        if known is None:
            raise DataError(
                f"--scores {path}, row {number}: {column} is {row[column]!r}; a number, up or down is wanted"
            )
        words = words and word
        for name in named:
            found[name, str(row[name])] = known
    if not found:
        raise DataError(f"--scores {path}: it holds no rows")
    assert column is not None

    def value(row: Row) -> float | None:
        known = found.get(("id", row.id))
        return found.get(("answer_id", row.answer_id or "")) if known is None else known

    return value, column, words


def _score(given: object) -> tuple[float | None, bool]:
    """A score, and whether it is a thumb."""
    if isinstance(given, bool):
        return float(given), True
    if isinstance(given, str) and given.strip().lower() in THUMBS:
        return THUMBS[given.strip().lower()], True
    try:
        known = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None, False
    return (known if math.isfinite(known) else None), False
