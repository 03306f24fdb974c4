"""What of a difference is rounding: whoever compares two scores compares them here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alignpro.types import FloatArray

DOUBLE, SINGLE = 2.0**-40, 2.0**-21
"""Differences this small beside the larger value are rounding, of float64 and of values that float32 holds."""


def difference(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """a - b of arrays that broadcast, and 0 where that is rounding of their size; nan where either is.

    0.3 and 0.1 + 0.2 are equal, and so are sums of the same float32 terms in another order. Whole numbers are exact.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = a - b
        single = (a == a.astype(np.float32)) & (b == b.astype(np.float32)) & ((a % 1 != 0) | (b % 1 != 0))
        faint = np.where(single, SINGLE, DOUBLE) * np.maximum(np.abs(a), np.abs(b))
        return np.asarray(np.where(np.isfinite(gap) & (np.abs(gap) <= faint), 0.0, gap))
