"""judgements.jsonl: what a judge said of each comparison."""

from __future__ import annotations

import math

from alignpro.results.base import Interval, Number, PromptId, Result, Rows, Text


class Order(Result):
    """What a judge said in one order of presenting: scores of `a` and `b`, and why, or why there is no verdict."""

    verdict: Text | None
    scores: Interval
    reason: Text = ""
    failure: Text = ""


class Judged(Result):
    """A row of judgements.jsonl: answers of arms `a` and `b` before `judge`.

    `orders` has a presented first, then b, or one of a judge for whom the order cannot matter.
    """

    a: Text
    b: Text
    judge: Text
    prompt_id: PromptId
    sample: Number
    verdict: Text | None
    orders: Rows[Order]

    @property
    def margin(self) -> float:
        """Score of `a` less that of `b`, mean over the orders."""
        from alignpro.maths.rounding import difference  # numpy's weight is for those who ask

        return math.fsum(difference(*order.scores) for order in self.orders) / (len(self.orders) or math.nan)
