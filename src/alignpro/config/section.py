"""What every group of settings is: strict, frozen, declared once."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
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

    @field_validator("*", mode="before")
    @classmethod
    def _no_other_is_a_boolean(cls, value: Any, told: ValidationInfo) -> Any:
        """Python takes true for 1."""
        annotation = cls.model_fields[str(told.field_name)].annotation
        if _holds_a_boolean(value) and not (_takes_booleans(annotation) or sections_in(annotation)):
            raise ValueError("true and false are no numbers and no names; a text that reads so stands between quotes")
        return value


def _holds_a_boolean(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_a_boolean, value.values()))
    return any(map(_holds_a_boolean, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


def _takes_booleans(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(map(_takes_booleans, get_args(annotation)))


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
