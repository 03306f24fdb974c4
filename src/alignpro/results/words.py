"""How figures, with their 95% intervals, are put into words."""

from __future__ import annotations

import math

from alignpro.results.estimate import Estimate

MINUS = "\u2212"
NOTHING = "\u2013"
FAINT, LARGE, LEAST = 1e-4, 1e7, 1e-12
"""Sizes below the one and from the other on are told in powers of ten: 1.2e-6."""

Form = tuple[int, int]
"""Decimals, and the power of ten that they are of: (1, -6) tells 1.2e-6."""


def number(value: float, form: int | Form | None = None, signed: bool = False) -> str:
    """`value` with the decimals of `form`, or three significant digits; a dash for nan."""
    if math.isnan(value):
        return NOTHING
    if form is None or (isinstance(form, int) and abs(value) >= LARGE):
        form = form_for(abs(value))
    decimals, power = (form, 0) if isinstance(form, int) else form
    told = value / 10.0**power
    text = f"{told:+.{decimals}f}" if signed else f"{told:.{decimals}f}"
    if not text.strip("+-0."):
        text = text.lstrip("+-")  # neither sign belongs to what rounds to zero
    return (f"{text}e{power}" if power else text).replace("-", MINUS)


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands; a dash for nan, or where there is none."""
    return NOTHING if value is None or math.isnan(value) else f"{value:,.0f}".replace(",", "\u202f")


def form_for(size: float, width: float = 0.0) -> Form:
    """How figures up to `size` are told: two digits of `width`, or three of `size` where there is no width."""
    if not (math.isfinite(size) and size > 0):
        return (2, 0)
    magnitude = math.floor(math.log10(size))
    last = math.floor(math.log10(width)) - 1 if LEAST * size < width < math.inf else magnitude - 2
    power = 0 if FAINT <= size < LARGE else magnitude
    return (min(15, max(0, power - last)), power)


def form_of(estimate: Estimate) -> Form:
    """Digits that give the interval's width two of them, and no bound that is not zero the look of a zero."""
    ends = (estimate.lo, estimate.hi)
    if not estimate.bounded:
        return form_for(abs(estimate.value))
    decimals, power = form_for(max(map(abs, (estimate.value, *ends))), estimate.hi - estimate.lo)
    while decimals < 4 and any(end != 0 and round(end / 10.0**power, decimals) == 0 for end in ends):
        decimals += 1
    return (decimals, power)


def interval(estimate: Estimate, form: int | Form | None = None) -> str:
    """`[lo, hi]`, or why there is none."""
    if not estimate.bounded:
        return f"[{estimate.why}]" if estimate.why and estimate.defined else ""
    form = form_of(estimate) if form is None else form
    return f"[{number(estimate.lo, form)}, {number(estimate.hi, form)}]"


def spoken(estimate: Estimate | None, signed: bool = False) -> str:
    """`value [lo, hi]` with the digits that the interval warrants, or `value [why]` where it is withheld."""
    if estimate is None:
        return NOTHING
    form = form_of(estimate)
    return f"{number(estimate.value, form, signed)} {interval(estimate, form)}".rstrip()


def percent(share: Estimate | None) -> str:
    """A share as `63% [60, 66]`; more decimals where the interval is narrow; a dash where there is none."""
    if share is None or not share.defined:
        return NOTHING
    points = share.scaled(100)
    width = points.hi - points.lo if points.bounded else math.nan
    decimals = min(15, max(0, math.ceil(-math.log10(width / 4)))) if width > 0 else 0
    return f"{number(points.value, decimals)}% {interval(points, decimals)}".rstrip()


def told(estimate: Estimate | None, nothing: str = "-") -> str:
    """As `spoken`, for terminals and Markdown; `nothing` where there is no value."""
    return nothing if estimate is None or not estimate.defined else spoken(estimate).replace(MINUS, "-")


def plain(value: float, width: float = 0.0) -> str:
    """A figure without its interval, for terminals: two digits of the `width` that the interval would have."""
    return number(value, form_for(abs(value), width)).replace(MINUS, "-")
