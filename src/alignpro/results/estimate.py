"""A figure with its 95% interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alignpro.maths.stats import Withheld


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value` with its 95% interval [`lo`, `hi`]; nan where undefined or not told, and `why` it is withheld."""

    value: float
    lo: float = math.nan
    hi: float = math.nan
    why: str = ""

    @classmethod
    def of(cls, value: float, interval: tuple[float, float]) -> Estimate:
        """A value with what maths gives for its interval, and the reason where that is withheld."""
        return cls(value, *interval, interval.why if isinstance(interval, Withheld) else "")

    @property
    def ci95(self) -> list[float]:
        """[lo, hi], as files have it."""
        return [self.lo, self.hi]

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    @property
    def bounded(self) -> bool:
        """Whether there is a value with an interval."""
        return not math.isnan(self.value + self.lo + self.hi)

    def side(self, of: float = 0.0) -> int | None:
        """1 where the whole interval lies above `of`, -1 below, 0 where it spans it, None without an interval."""
        if not self.bounded:
            return None
        return 1 if self.lo > of else -1 if self.hi < of else 0

    def mirrored(self, total: float = 0.0) -> Estimate:
        """`total` minus this: the same comparison seen from the other arm."""
        return Estimate(total - self.value, total - self.hi, total - self.lo, self.why)

    def scaled(self, factor: float) -> Estimate:
        """Value and interval times a positive `factor`."""
        return Estimate(factor * self.value, factor * self.lo, factor * self.hi, self.why)


UNKNOWN = Estimate(math.nan)
"""A figure that is not there."""
