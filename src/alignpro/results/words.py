"""How figures, with their 95% intervals, are put into words."""

from __future__ import annotations

import math
import re

from alignpro.results.estimate import Estimate

MINUS = "\u2212"
NOTHING = "\u2013"


def number(value: float, decimals: int | None = None, signed: bool = False) -> str:
    """`value` with `decimals`, or three significant digits; a dash for nan."""
    if math.isnan(value):
        return NOTHING
    if decimals is None:
        decimals = 2 if value == 0 else min(4, max(0, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if not text.strip("+-0."):
        text = text.lstrip("+-")  # neither sign belongs to what rounds to zero
    return text.replace("-", MINUS)


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands; a dash for nan, or where there is none."""
    return NOTHING if value is None or math.isnan(value) else f"{value:,.0f}".replace(",", "\u202f")


def decimals_of(estimate: Estimate) -> int:
    """Decimals that give the interval's width two digits, and no bound that is not zero the look of a zero."""
    width = estimate.hi - estimate.lo
    if math.isnan(width) or width <= 0:
        return 3
    decimals = min(4, max(0, 1 - math.floor(math.log10(width))))
    while decimals < 4 and any(bound != 0 and round(bound, decimals) == 0 for bound in (estimate.lo, estimate.hi)):
        decimals += 1
    return decimals


def interval(estimate: Estimate, decimals: int | None = None) -> str:
    """`[lo, hi]`, or nothing without an interval."""
    if not estimate.bounded:
        return ""
    decimals = decimals_of(estimate) if decimals is None else decimals
    return f"[{number(estimate.lo, decimals)}, {number(estimate.hi, decimals)}]"


def spoken(estimate: Estimate | None, signed: bool = False) -> str:
    """`value [lo, hi]` with the digits that the interval warrants; a dash where there is none."""
    if estimate is None:
        return NOTHING
    if not estimate.bounded:
        return number(estimate.value, signed=signed)
    decimals = decimals_of(estimate)
    return f"{number(estimate.value, decimals, signed)} {interval(estimate, decimals)}"


def percent(share: Estimate | None) -> str:
    """A share as `63% [60, 66]`; a decimal more where the interval is narrow; a dash where there is none."""
    if share is None:
        return NOTHING
    points = share.scaled(100)
    decimals = 1 if points.bounded and points.hi - points.lo < 4 else 0
    bounds = f" {interval(points, decimals)}" if points.bounded else ""
    return f"{number(points.value, decimals)}%{bounds}" if share.defined else NOTHING


def told(estimate: Estimate | None, form: str = ".3f", nothing: str = "-") -> str:
    """`value [lo, hi]` in a fixed `form`, for terminals and Markdown; `nothing` where there is no value."""
    if estimate is None or not estimate.defined:
        return nothing
    value, lo, hi = (re.sub(r"^-(?=[0.]*$)", "", f"{end:{form}}") for end in (estimate.value, *estimate.ci95))
    return f"{value} [{lo}, {hi}]" if estimate.bounded else value
