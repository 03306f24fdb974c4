"""What every result is made of: fields that read whatever an older or damaged file holds, and one way to write them.

A field without a default is always in the file, null where it is undefined; one with a default is there only where it
says something. Reading never fails for what a file holds: what is missing, null or of the wrong shape is nan, None or
empty, and keys that are not known are kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from alignpro.errors import DamagedResult
from alignpro.results.estimate import UNKNOWN, Estimate
from alignpro.results.show import Table, shown
from alignpro.runtime import files

SCHEMA = 1
WITHHELD = "_withheld"
"""Ends the key under which a file says why there is no interval."""
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
T = TypeVar("T")
Tree = dict[str, Any]


def number(value: object) -> float:
    """A finite number as it is, a whole one whole; nan for null and all that is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return math.nan
    return value


def text(value: object) -> str:
    """`value` as text that a UTF-8 file can hold; null is empty."""
    # JSON can spell half a surrogate pair, which no UTF-8 file can hold.
    return LONE_SURROGATE.sub("\ufffd", value if isinstance(value, str) else "" if value is None else str(value))


def interval(value: object) -> tuple[float, float]:
    """[lo, hi]; nan where there is none."""
    lo, hi = value if isinstance(value, (list, tuple)) and len(value) == 2 else (None, None)
    return (number(lo), number(hi))


def _figure(value: object) -> Estimate:
    if isinstance(value, Estimate):
        return value
    if value is not None and not isinstance(value, Mapping):
        raise ValueError("an object with value and ci95 is wanted")
    if not value:
        return UNKNOWN
    return Estimate(number(value.get("value")), *interval(value.get("ci95")), text(value.get("ci95" + WITHHELD)))


def _rows(value: object) -> list[Any]:
    """The objects in a list; nothing where it is no list."""
    found = value if isinstance(value, (list, tuple)) else ()
    return [item for item in found if isinstance(item, (Mapping, Result))]


def _named(value: object) -> dict[str, Any]:
    """The objects by name; nothing where that is no mapping."""
    found = value if isinstance(value, Mapping) else {}
    return {text(name): item for name, item in found.items() if isinstance(item, (Mapping, Result))}


Number = Annotated[float, PlainValidator(number)]
"""nan where undefined."""
Text = Annotated[str, PlainValidator(text)]
PromptId = Annotated[int | str, PlainValidator(lambda told: told if isinstance(told, int) else text(told))]
RewardName = Annotated[str, PlainValidator(lambda value: text(value) or "training reward")]
Flag = Annotated[bool, PlainValidator(lambda value: value is True)]
Interval = Annotated[tuple[float, float], PlainValidator(interval)]
Figure = Annotated[Estimate, PlainValidator(_figure)]
"""{"value", "ci95"} in the file, and "ci95_withheld" where there is a reason."""
Rows = Annotated[tuple[T, ...], BeforeValidator(_rows)]
Named = Annotated[dict[str, T], BeforeValidator(_named)]
Numbers = Annotated[
    dict[str, float],
    PlainValidator(lambda tree: {text(k): number(v) for k, v in tree.items()} if isinstance(tree, Mapping) else {}),
]
Plain = Annotated[dict[str, Any], BeforeValidator(lambda tree: tree if isinstance(tree, Mapping) else {})]
"""Whatever an object holds, as it is."""


@dataclass(frozen=True)
class Keys:
    """The keys under which a file has an estimate: its value, and its interval, NAME_ci95 unless told."""

    value: str
    ci95: str = ""

    @property
    def both(self) -> tuple[str, str]:
        return self.value, self.ci95 or f"{self.value}_ci95"


class Result(BaseModel):
    """Base of all results. `result["key"]` gives what the file has under a key."""

    model_config = ConfigDict(extra="allow")
    _estimates: ClassVar[dict[str, tuple[str, str]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls._estimates = {
            name: keys.both
            for name, field in cls.model_fields.items()
            for keys in field.metadata
            if isinstance(keys, Keys)
        }

    @model_validator(mode="wrap")
    @classmethod
    def _whatever_there_is(cls, tree: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        if isinstance(tree, Result):
            return handler(tree)
        if tree is not None and not isinstance(tree, Mapping):
            raise ValueError("an object is wanted")
        found = dict(tree or {})
        for name, (value, ci95) in cls._estimates.items():
            if isinstance(found.get(name), Estimate) or (name in found and name != value):
                continue
            told, bounds, why = (found.pop(key, None) for key in (value, ci95, ci95 + WITHHELD))
            absent = told is None and type(None) in get_args(cls.model_fields[name].annotation)
            found[name] = None if absent else Estimate(number(told), *interval(bounds), text(why))
        required = {name: None for name, field in cls.model_fields.items() if field.is_required()}
        return handler(required | found)

    @field_validator("*", mode="wrap")
    @classmethod
    def _undefined_where_wrong(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            return handler(None)

    def tree(self) -> Tree:
        """What the file holds of it, nan for what is undefined."""
        found: Tree = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if field.exclude or (not field.is_required() and _same(value, field.default)):
                continue
            if name in self._estimates:
                found |= _told(value, *self._estimates[name])
            else:
                found[name] = _plain(value)
        return found | (self.model_extra or {})

    def __eq__(self, other: object) -> bool:
        """Whether both are written alike: what is undefined in both is equal."""
        return type(self) is type(other) and json.dumps(self.tree()) == json.dumps(other.tree())

    def __getitem__(self, key: str) -> Any:
        return self.tree()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.tree()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(type(self).model_fields)})"

    __str__ = __repr__


class Document(Result):
    """A result that is a file of its own; `again` says how such a file is made anew."""

    again: ClassVar[str]

    def tree(self) -> Tree:
        return {"schema": SCHEMA} | super().tree()

    def _repr_html_(self) -> str:
        """What a notebook shows: a table with intervals, and the first of its figures drawn."""
        return shown(self._table())

    def _table(self) -> Table:
        """Title, heads, rows, and what is said beneath."""
        return Table(repr(self), ["", ""], [])


D = TypeVar("D", bound=Document)
R = TypeVar("R", bound=Result)


def write(path: Path, result: Document) -> None:
    """Write a result and its digest, whole or not at all, by the first of several processes; nan becomes null.

    Raises RunFailure.
    """
    files.write_json(path, result.tree(), checked=True)


def read(kind: type[D], path: Path) -> D | None:
    """The result in a file, None where there is none.

    Raises DamagedResult, which names the file and what makes it anew, where it holds no whole JSON object, or another
    than was written.
    """
    try:
        return kind.model_validate(files.tree_of(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedResult(f"{path} could not be read: {error.strerror}; {kind.again}") from None
    except ValueError as error:
        raise DamagedResult(f"{path} {error}; {kind.again}") from None


def read_rows(kind: type[R], path: Path) -> list[R]:
    """The rows of a file of JSON lines; a torn last line is left out, a missing file has none.

    Raises DamagedResult, with file and line, for any other line that is not a whole row.
    """
    return files.parsed_rows(path, kind.model_validate)


def append_rows(path: Path, rows: Iterable[Result]) -> None:
    """Add a line for each row, with its digest. Raises RunFailure where they cannot be written."""
    files.append_jsonl(path, [row.tree() for row in rows], checked=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Result):
        return value.tree()
    if isinstance(value, Estimate):
        return _told(value, "value", "ci95")
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _told(figure: Estimate | None, value: str, ci95: str) -> Tree:
    if figure is None:
        return {value: None, ci95: None}
    why = {ci95 + WITHHELD: figure.why} if figure.why else {}
    return {value: figure.value, ci95: figure.ci95} | why


def _same(value: Any, default: Any) -> bool:
    undefined = isinstance(value, float) and isinstance(default, float) and math.isnan(value) and math.isnan(default)
    return undefined or bool(value == default)
