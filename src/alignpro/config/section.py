"""What every group of settings is: strict, frozen, declared once."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A group of settings; unknown keys are errors and values are not coerced across kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
