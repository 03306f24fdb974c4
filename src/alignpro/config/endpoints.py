"""Settings of models behind URLs: patience, prices, the budget."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from alignpro.config.section import Positive, Section

Seconds = Annotated[float, Field(gt=0)]
Money = Annotated[float, Field(ge=0)]


class PriceSettings(Section):
    """What a million tokens cost, in the currency of the budget."""

    input: Money = Field(description="price of a million tokens sent")
    output: Money = Field(description="price of a million tokens received")


class EndpointSettings(Section):
    """How a model behind a URL is asked; of a python: function price alone counts, of a model that is here nothing."""

    timeout: Seconds = Field(300.0, description="seconds for one request, to its last byte")
    attempts: Positive = Field(6, description="faults of its own after which a request is a failed sample")
    patience: Seconds = Field(180.0, description="seconds with nothing answered after which the run saves and stops")
    concurrency: Positive = Field(
        8, description="requests of a URL under way at first; it grows while answers come, until the first 429"
    )
    most_concurrency: Positive = Field(128, description="requests of a URL under way at most, however well it answers")
    price: PriceSettings | None = Field(
        None, description="for a million tokens in and out, as {input: 0.4, output: 1.6}; null: money is not counted"
    )


class BudgetSettings(Section):
    """The most that a run may spend on models behind URLs and functions, what it spent before it was resumed included;
    null: no limit."""

    calls: Positive | None = Field(None, description="requests; null: no limit")
    tokens: Positive | None = Field(None, description="tokens in and out together; null: no limit")
    money: Annotated[float, Field(gt=0)] | None = Field(
        None, description="money, in the currency of the prices; null: no limit"
    )
