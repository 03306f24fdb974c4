"""What every group of settings is: strict, frozen, declared once."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Positive = Annotated[int, Field(gt=0)]


class OfText:
    """Marks a setting that holds a text, which may be given as @FILE."""


Text = Annotated[str, OfText()]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1e30)]
"""A step size of Adam, which float32 holds."""


class Section(BaseModel):
    """A group of settings; unknown keys are errors, values are not coerced across kinds, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field is, holds in a list, or may be beside other things."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) in (list, Union, UnionType, Annotated):
        return [section for part in get_args(annotation) for section in sections_in(part)]
    return []


def marks_of(metadata: Iterable[Any]) -> list[Any]:
    """What an annotation was marked with, that of a Field among it."""
    return [mark for given in metadata for mark in (given.metadata if isinstance(given, FieldInfo) else [given])]
