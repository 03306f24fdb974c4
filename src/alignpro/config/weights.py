"""Settings of a model's weights: where they lie, and which of them are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from alignpro.config.section import Positive, Section

DeviceMap = Literal["auto"] | dict[str, int | str] | None
"""Null: the whole model on `device`; auto: over the devices there are; or module name -> device."""


class LoraSettings(Section):
    """A low-rank adapter, the only weights that are trained; the rest stay as they are."""

    rank: Positive = Field(
        16, description="inner dimension of the adapter; a higher one can learn more, and has more weights to hold"
    )
    alpha: Annotated[float, Field(gt=0, description="the adapter's product is scaled by alpha / rank")] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="share of the adapter's input that is dropped in supervised training; reinforcement learning goes"
        " without",
    )
    targets: list[str] | str = Field(
        "all-linear", description="names of the layers that get it; all-linear: every linear one but the output layer"
    )
