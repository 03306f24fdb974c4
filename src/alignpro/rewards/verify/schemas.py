"""`verify:json_schema`: the answer is JSON, and of the wanted shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from alignpro.errors import SettingsError, UnusableRow
from alignpro.rewards.verify.verifier import Verifier, cell, needs

_FENCE = re.compile(r"^[ \t]*(```|~~~)[ \t]*\w*[ \t]*\n(.*?)\n[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"[{\[]")


def json_schema(schema: dict[str, Any] | None = None, column: str = "schema") -> Verifier[Any]:
    """1 where the answer is one JSON document that the schema allows, given here or by a column (object or JSON text).

    The document is the whole answer, or stands in a code fence with no other JSON in the answer. Not JSON: two equal
    keys in an object, NaN, Infinity, a comma at an end. `format` is asserted; `$ref` reaches within the schema alone.
    Raises SettingsError for a schema that is none.
    """
    try:
        from jsonschema import FormatChecker
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
    except ImportError as error:
        raise needs("jsonschema", "verify:json_schema", error) from error

    def validator(of: Any) -> Any:
        kind = validator_for(of)
        kind.check_schema(of)
        return kind(of, registry=Registry(), format_checker=FormatChecker())

    try:
        given = None if schema is None else validator(schema)
    except SchemaError as error:
        raise SettingsError(f"schema is no JSON schema ({error.json_path}: {error.message})") from error

    def gold(row: Mapping[str, Any]) -> Any:
        if given is not None:
            return given
        value = cell(row, column)
        try:
            value = json.loads(value) if isinstance(value, str) else value
            if not isinstance(value, dict | bool):
                raise UnusableRow(f"{column} is neither an object nor the JSON text of one")
            return validator(value)
        except (json.JSONDecodeError, SchemaError) as error:
            raise UnusableRow(f"{column} is no JSON schema") from error

    def worth(of: Any, answer: str) -> float:
        try:
            document = only_json(answer)
        except (ValueError, RecursionError):
            return 0.0
        return float(of.is_valid(document))

    return Verifier("verify:json_schema", (column,) if schema is None else (), gold, worth)


def only_json(answer: str) -> Any:
    """The one JSON document of an answer: the whole of it, or all of its code fence. Raises ValueError without one."""
    text = answer.strip().lstrip("\ufeff")
    try:
        return strict_json(text)
    except ValueError:
        fences = list(_FENCE.finditer(text))
    if len(fences) != 1:
        raise ValueError(f"not JSON, and {len(fences)} code fences")
    around = text[: fences[0].start()] + "\n" + text[fences[0].end() :]
    if any(_begins_json(around, opening.start()) for opening in _OPENING.finditer(around)):
        raise ValueError("JSON within the code fence and outside of it")
    return strict_json(fences[0][2])


def strict_json(text: str) -> Any:
    """JSON without what Python alone takes for it: NaN, Infinity, two equal keys. Raises ValueError."""

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    def each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("two equal keys in one object")
        return dict(pairs)

    return json.loads(text, parse_constant=no_constant, object_pairs_hook=each_key_once)


def _begins_json(text: str, start: int) -> bool:
    try:
        json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return True
