"""The other columns of a row, as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from alignpro.data.texts import mended


def as_rows(found: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Each row with every column that any of them has, None where it has no value; and the columns that are left out,
    since they hold what JSON cannot (bytes, images)."""
    rows: list[dict[str, Any]] = [{} for _ in found]
    left_out = []
    for name in dict.fromkeys(name for row in found for name in row):
        try:
            values = [plain(row.get(name)) for row in found]
        except (TypeError, RecursionError):
            left_out.append(name)
            continue
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows, left_out


def plain(value: Any) -> Any:
    """The value as JSON has it: NaN is None, an array a list, a time its ISO form, half a character U+FFFD. Raises
    TypeError where JSON has nothing of the kind."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, str):
        return mended(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {mended(str(name)): plain(held) for name, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(held) for held in value]
    raise TypeError(f"JSON has no {type(value).__name__}")
