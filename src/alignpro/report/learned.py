"""Figures in the JSON of a fit, reward.json or sft.json; what is missing there is nan, or empty."""

from __future__ import annotations

import math

from alignpro.report.records import Record, estimate
from alignpro.results import Estimate


def figure_of(tree: Record, key: str) -> Estimate:
    """A value with its interval."""
    return estimate(tree.get(key), "value")


def record(tree: Record, key: str) -> Record:
    """What stands under a key, empty where that is no mapping."""
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def amount(tree: Record, key: str) -> float:
    """A number, nan where there is none."""
    value = tree.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def in_two(told: str) -> tuple[str, str]:
    """A figure, and its interval."""
    value, _, bounds = told.partition(" ")
    return value, bounds
