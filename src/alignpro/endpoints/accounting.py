"""What endpoints have cost, in tokens and money, and the budget that is never passed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from alignpro.errors import BudgetSpent, SettingsError


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written, as the endpoint counts them."""

    input: int = 0
    output: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.input - other.input, self.output - other.output)


@dataclass(frozen=True, slots=True)
class Price:
    """Money for a million tokens, in whatever currency the budget is in."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """Money for so many tokens."""
        return (self.input * usage.input + self.output * usage.output) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent: tokens in and out together, money, or both; None is no limit."""

    tokens: int | None = None
    money: float | None = None


@dataclass(slots=True)
class Spent:
    """One model's account.

    `requests` were answered, `unmetered` of them without `usage`, so that the most they can have taken was booked.
    `lost` went out and broke before an answer came; an endpoint may charge for them, and nobody here can know.
    `from_cache` and `failed` count samples.
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

    def __init__(
        self,
        prices: Mapping[str, Price] | None = None,
        budget: Budget | None = None,
        before: Usage | None = None,
        money_before: float = 0.0,
    ) -> None:
        self.prices = dict(prices or {})
        self.budget = budget or Budget()
        self._used = before or Usage()
        self._money = money_before
        self._under_way = Usage()
        self._money_under_way = 0.0
        self._spent: dict[str, Spent] = {}
        self._lock = threading.Lock()

    def open(self, model: str) -> Spent:
        """The model's books. Raises SettingsError where the budget is in money and the model has no price."""
        if self.budget.money is not None and model not in self.prices:
            raise SettingsError(
                f"the budget is in money, but {model} has no price; give what a million tokens in and out cost, or a"
                " budget in tokens"
            )
        with self._lock:
            return self._spent.setdefault(model, Spent(money=0.0 if model in self.prices else None))

    def reserve(self, model: str, most: Usage) -> bool:
        """Set aside the most that a request can take; False where that has to wait for requests under way.

        Raises BudgetSpent where it does not fit with nothing under way.
        """
        with self._lock:
            money = self._cost(model, most)
            tokens = self._used + self._under_way + most
            fits = self.budget.tokens is None or tokens.input + tokens.output <= self.budget.tokens
            if self.budget.money is not None:
                fits = fits and self._money + self._money_under_way + money <= self.budget.money
            if fits:
                self._under_way += most
                self._money_under_way += money
                return True
            if self._under_way != Usage():
                return False
            raise BudgetSpent(self._explain(most, money))

    def settle(self, model: str, most: Usage, usage: Usage | None) -> None:
        """Book an answered request in place of what was set aside; without `usage`, at the most it can have taken."""
        with self._lock:
            self._free(model, most)
            taken = usage or most
            self._used += taken
            self._money += self._cost(model, taken)
            books = self._spent[model]
            books.requests += 1
            books.unmetered += usage is None
            books.input_tokens += taken.input
            books.output_tokens += taken.output
            if books.money is not None:
                books.money += self._cost(model, taken)

    def release(self, model: str, most: Usage) -> None:
        """Take back what was set aside for a request that was not answered."""
        with self._lock:
            self._free(model, most)

    def report(self) -> dict[str, dict[str, float | None]]:
        """By model, the fields of `Spent`."""
        with self._lock:
            return {model: asdict(books) for model, books in self._spent.items()}

    def _free(self, model: str, most: Usage) -> None:
        self._under_way -= most
        self._money_under_way -= self._cost(model, most)
        if self._under_way == Usage():
            self._money_under_way = 0.0  # no crumbs of rounding are left

    def _cost(self, model: str, usage: Usage) -> float:
        price = self.prices.get(model)
        return price.of(usage) if price else 0.0

    def _explain(self, most: Usage, money: float) -> str:
        parts = []
        if self.budget.tokens is not None:
            used = self._used.input + self._used.output
            parts.append(
                f"{used:,} of {self.budget.tokens:,} tokens spent, the next request may take"
                f" {most.input + most.output:,}"
            )
        if self.budget.money is not None:
            parts.append(f"{self._money:.4g} of {self.budget.money:.4g} spent, the next request may cost {money:.2g}")
        return f"budget: {'; '.join(parts)}; every answer is saved: raise the budget and go on with --resume"
