"""One budget for many runs: each may spend what the others have left of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alignpro.config import BudgetSettings
from alignpro.errors import BudgetSpent
from alignpro.remote.accounting import TOLD
from alignpro.remote.opened import SPENDING
from alignpro.runtime import files

Books = dict[str, dict[str, float | None]]


def spent(folders: Iterable[Path]) -> Books:
    """By model behind a URL, the accounts of all runs together, in the fields of `endpoints.accounting.Spent`."""
    totals: Books = {}
    for folder in folders:
        for model, books in (files.read_json(folder / SPENDING) or {}).items():
            mine = totals.setdefault(model, dict.fromkeys(TOLD))
            for name in TOLD:
                if books.get(name) is not None:
                    mine[name] = (mine[name] or 0) + books[name]
    return totals


def left(budget: BudgetSettings, others: Mapping[str, Mapping[str, float | None]]) -> BudgetSettings:
    """The budget less what the other runs have spent. Raises BudgetSpent where nothing is left of a part of it."""

    def used(*names: str) -> float:
        return sum(books[name] or 0 for books in others.values() for name in names)

    gone = {
        "calls": used("requests"),
        "tokens": used("input_tokens", "output_tokens"),
        "money": used("money"),
    }
    rest: dict[str, Any] = {}
    for name, most in budget.model_dump().items():
        rest[name] = None if most is None else most - gone[name]
        if most is not None and rest[name] <= 0:
            raise BudgetSpent(
                f"budget: {gone[name]:,.4g} of {most:,.4g} {name} spent by the runs together; every answer is saved:"
                " raise --budget and give the same command again"
            )
    return BudgetSettings(**rest)
