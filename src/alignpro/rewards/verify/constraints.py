"""`verify:constraints`: the answer follows the instructions that its row lists."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from pydantic import ValidationError, validate_call

from alignpro.errors import DataError, UnusableRow
from alignpro.rewards.verify.instructions import INSTRUCTIONS
from alignpro.rewards.verify.verifier import Verifier, cell

Check = Callable[[str], bool]


def constraints(
    column: str = "constraints", kwargs: str | None = None, loose: bool = False, share: bool = False
) -> Verifier[list[Check]]:
    """1 where the answer follows every instruction of the column; or the share that it follows, if `share`.

    The column is a list (or the JSON text of one) of objects `{"id": "length_constraints:number_words", "num_words":
    100}`; or, as in IFEval's data, a list of ids, with `kwargs` naming a column that has each one's arguments. `loose`,
    as IFEval has it: it is enough that the answer follows one without its first line, its last, both, or asterisks. An
    empty answer follows none.
    """

    def gold(row: Mapping[str, Any]) -> list[Check]:
        listed = _listed(row, column)
        if kwargs is None:
            if not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in listed):
                raise UnusableRow(f"{column} is no list of objects with an id")
            return [_check(one["id"], json.dumps({k: v for k, v in one.items() if k != "id"})) for one in listed]
        arguments = _listed(row, kwargs)
        if len(arguments) != len(listed):
            raise UnusableRow(f"{column} and {kwargs} are not of one length")
        if not all(isinstance(one, str) for one in listed) or not all(isinstance(one, dict) for one in arguments):
            raise UnusableRow(f"{column} and {kwargs} are not lists of ids and of objects")
        return [_check(name, json.dumps(given)) for name, given in zip(listed, arguments, strict=True)]

    def worth(checks: list[Check], answer: str) -> float:
        versions = [text for text in (loosened(answer) if loose else [answer]) if text.strip()]
        followed = [any(check(text) for text in versions) for check in checks]
        return sum(followed) / len(followed) if share else float(all(followed))

    return Verifier("verify:constraints", (column, *([kwargs] if kwargs else [])), gold, worth)


def loosened(answer: str) -> list[str]:
    """The answer, and without its first line, its last, both; each as it is and without asterisks."""
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cut, *(text.replace("*", "") for text in cut)]


def _listed(row: Mapping[str, Any], column: str) -> list[Any]:
    value = cell(row, column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise UnusableRow(f"{column} is neither a list nor the JSON text of one") from error
    if not isinstance(value, list) or not value:
        raise UnusableRow(f"{column} is neither a list nor the JSON text of one")
    return value


@lru_cache(maxsize=10_000)
def _check(name: str, arguments: str) -> Check:
    """An instruction with its arguments (JSON, null being none). Raises DataError for one that is not known."""
    function = INSTRUCTIONS.get(name)
    if function is None:
        raise DataError(f"verify:constraints: no instruction {name!r}; there are {', '.join(INSTRUCTIONS)}")
    given = {key: value for key, value in json.loads(arguments).items() if value is not None}
    taken = [parameter for parameter in inspect.signature(function).parameters if parameter != "text"]
    if unknown := [key for key in given if key not in taken]:
        raise DataError(
            f"verify:constraints: {name} takes {', '.join(taken) or 'no arguments'}, not {', '.join(unknown)}"
        )
    try:
        validate_call(function)("probe", **given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise DataError(f"verify:constraints: {name}: {wrong}") from error
    return partial(validate_call(function), **given)
