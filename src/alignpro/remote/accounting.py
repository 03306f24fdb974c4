"""What models computed elsewhere have cost, in tokens and money, and the budget that is never passed."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from alignpro.config import BudgetSettings, PriceSettings
from alignpro.errors import BudgetSpent, RunFailure, SettingsError
from alignpro.runtime import files


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written, as the endpoint counts them."""

    input: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.input - other.input, self.output - other.output)


@dataclass(slots=True)
class Spent:
    """One model's account.

    `requests` were answered, `unmetered` of them without `usage`, so that the most they can have taken was booked.
    `lost` went out and broke, or were given up, before an answer came; they may be charged for, and nobody here can
    know. `from_cache` and `failed` count samples. Of a function that tells no usage, where neither a price nor a budget
    asks for it, tokens are 0.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: float | None = None
    unmetered: int = 0
    lost: int = 0
    throttled: int = 0
    refused: int = 0
    from_cache: int = 0
    failed: int = 0


class Account:
    """Books of several models under one budget; safe under threads.

    A request is let out only when the most that it can cost fits into what is left beside the most that those under way
    can cost. So the budget is a ceiling, not a mark that is noticed after it was passed.
    """

    def __init__(self, prices: Mapping[str, PriceSettings] | None = None, budget: BudgetSettings | None = None) -> None:
        self.prices = dict(prices or {})
        self.budget = budget or BudgetSettings()
        self._tokens = self._calls = self._tokens_under_way = self._calls_under_way = 0
        self._money = self._money_under_way = 0.0
        self._ledger: Path | None = None
        self._spent: dict[str, Spent] = {}
        self._lock = threading.Lock()

    def open(self, model: str) -> Spent:
        """The model's books. Raises SettingsError where the budget is in money and the model has no price."""
        if self.budget.money is not None and model not in self.prices:
            raise SettingsError(
                f"the budget is in money, but {model} has no price; give what a million tokens in and out cost, as in"
                " --frozen.endpoint.price='{input: 0.4, output: 1.6}', or a budget in tokens"
            )
        with self._lock:
            books = self._spent.setdefault(model, Spent())
            if model in self.prices:
                books.money = books.money or 0.0
            return books

    def keep(self, path: Path) -> None:
        """From now on `write` keeps the books in a file; what it held counts.

        Money of earlier requests is what they cost then. Raises RunFailure where it holds something else.
        """
        try:
            earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            names = {field.name for field in fields(Spent)}
            kept = {model: Spent(**{k: v for k, v in books.items() if k in names}) for model, books in earlier.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise RunFailure(
                f"{path} should hold what the run has spent, and cannot be read ({error}); restore it, or delete it to"
                " count from nothing"
            ) from None
        with self._lock:
            for model, books in kept.items():
                self._tokens += books.input_tokens + books.output_tokens
                self._money += books.money or 0.0
                self._calls += books.requests
                mine = self._spent.setdefault(model, Spent())
                for name, value in asdict(books).items():
                    now = getattr(mine, name)
                    setattr(mine, name, value if now is None else now + (value or 0))
            self._ledger = path
            self._write()

    @property
    def is_kept(self) -> bool:
        """Whether there is a file."""
        return self._ledger is not None

    def write(self) -> None:
        """Bring the file up to date, where there is one."""
        with self._lock:
            self._write()

    def reserve(self, model: str, most: Usage) -> bool:
        """Set aside the most that a request can take; False where that has to wait for requests under way.

        Raises BudgetSpent where it does not fit with nothing under way.
        """
        with self._lock:
            budget, tokens, money = self.budget, most.input + most.output, self.cost(model, most)
            fits = budget.tokens is None or self._tokens + self._tokens_under_way + tokens <= budget.tokens
            if budget.money is not None:
                fits = fits and self._money + self._money_under_way + money <= budget.money
            if budget.calls is not None:
                fits = fits and self._calls + self._calls_under_way < budget.calls
            if fits:
                self._calls_under_way += 1
                self._tokens_under_way += tokens
                self._money_under_way += money
                return True
            if self._calls_under_way:
                return False
            raise BudgetSpent(self._explain(most, money))

    def settle(self, model: str, most: Usage, usage: Usage | None) -> None:
        """Book an answered request in place of what was set aside; without `usage`, at the most it can have taken."""
        with self._lock:
            self._free(model, most)
            taken = usage or most
            money = self.cost(model, taken)
            self._tokens += taken.input + taken.output
            self._money += money
            self._calls += 1
            books = self._spent[model]
            books.requests += 1
            books.unmetered += usage is None
            books.input_tokens += taken.input
            books.output_tokens += taken.output
            if books.money is not None:
                books.money += money

    def release(self, model: str, most: Usage) -> None:
        """Take back what was set aside for a request that was not answered."""
        with self._lock:
            self._free(model, most)

    def report(self) -> dict[str, dict[str, float | None]]:
        """By model, the fields of `Spent`."""
        with self._lock:
            return {model: asdict(books) for model, books in self._spent.items()}

    def _write(self) -> None:
        if self._ledger is None:
            return
        partial = self._ledger.with_name(f".{self._ledger.name}.partial")
        try:
            partial.write_text(json.dumps({m: asdict(books) for m, books in self._spent.items()}, indent=1) + "\n")
            partial.replace(self._ledger)
        except OSError as error:
            raise files.not_written(self._ledger, error) from None

    def _free(self, model: str, most: Usage) -> None:
        self._calls_under_way -= 1
        self._tokens_under_way -= most.input + most.output
        self._money_under_way -= self.cost(model, most)
        if not self._calls_under_way:
            self._money_under_way = 0.0  # no crumbs of rounding are left

    def cost(self, model: str, usage: Usage) -> float:
        """Money for so many tokens, 0 without a price."""
        price = self.prices.get(model)
        return (price.input * usage.input + price.output * usage.output) / 1e6 if price else 0.0

    def _explain(self, most: Usage, money: float) -> str:
        parts = []
        if self.budget.tokens is not None:
            parts.append(
                f"{self._tokens:,} of {self.budget.tokens:,} tokens spent, the next request may take"
                f" {most.input + most.output:,}"
            )
        if self.budget.money is not None:
            parts.append(f"{self._money:.4g} of {self.budget.money:.4g} spent, the next request may cost {money:.2g}")
        if self.budget.calls is not None:
            parts.append(f"{self._calls:,} of {self.budget.calls:,} calls spent")
        return f"budget: {'; '.join(parts)}; every answer is saved: raise --budget and go on with --resume"


TOLD = tuple(field.name for field in fields(Spent))
"""Names of the figures of an account."""


def costs_in_words(report: Mapping[str, Mapping[str, float | None]]) -> str:
    """One line on what models behind URLs have cost, from the `report` of their account."""
    parts = []
    for model, books in report.items():
        told = f"{model}: {books['requests'] or 0:,.0f} requests"
        if books["input_tokens"] or books["output_tokens"]:
            told += f", {books['input_tokens'] or 0:,.0f} tokens in and {books['output_tokens'] or 0:,.0f} out"
        if books["money"] is not None:
            told += f", {books['money']:.4g} in money"
        more = {
            "from_cache": "samples from the cache",
            "failed": "samples failed",
            "throttled": "requests throttled",
            "lost": "requests lost",
            "unmetered": "requests without usage, booked at their most",
        }
        told += "".join(f", {books[name]:,.0f} {what}" for name, what in more.items() if books.get(name))
        parts.append(told)
    return "; ".join(parts)
