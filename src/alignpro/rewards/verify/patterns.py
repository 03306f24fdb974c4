"""`verify:regex`: the answer matches a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex as engine

from alignpro.errors import SettingsError, UnusableRow
from alignpro.rewards.verify.normal import normal
from alignpro.rewards.verify.verifier import Verifier, cell, texts

PATIENCE = 2.0
"""Seconds that one search may take; past them the answer has no reward."""


def regex(
    pattern: str | None = None,
    column: str = "pattern",
    full: bool = False,
    case: bool = True,
    answer: str | None = None,
) -> Verifier[tuple[Any, list[str] | None]]:
    """1 where the pattern, given here or by a column, is found in the answer, or is the whole of it if `full`.

    `case=False`: letter case does not matter. `answer` names a column: then the first group of the last match, or all
    of it, must be that gold text, as `normal` makes both. Raises SettingsError for a pattern that is none.
    """

    def compiled(text: str) -> Any:
        return engine.compile(text, engine.MULTILINE | (0 if case else engine.IGNORECASE))

    try:
        given = None if pattern is None else compiled(pattern)
    except engine.error as error:
        raise SettingsError(f"pattern {pattern!r} is no regular expression ({error})") from error

    def gold(row: Mapping[str, Any]) -> tuple[Any, list[str] | None]:
        wanted = None if answer is None else [normal(text) for text in texts(row, answer)]
        if given is not None:
            return given, wanted
        text = cell(row, column)
        if not isinstance(text, str):
            raise UnusableRow(f"{column} is not a text")
        try:
            return compiled(text), wanted
        except engine.error as error:
            raise UnusableRow(f"{column} is no regular expression") from error

    def worth(wanted: tuple[Any, list[str] | None], text: str) -> float:
        expression, golds = wanted
        text = text.strip()
        try:
            if full:
                matches = [match for match in [expression.fullmatch(text, timeout=PATIENCE)] if match]
            else:
                matches = list(expression.finditer(text, timeout=PATIENCE))
        except TimeoutError as error:
            raise UnusableRow(f"the pattern searched one answer for more than {PATIENCE:g} s") from error
        if golds is None or not matches:
            return float(bool(matches))
        return float(normal(matches[-1][1 if expression.groups else 0] or "") in golds)

    columns = ((column,) if pattern is None else ()) + ((answer,) if answer else ())
    return Verifier("verify:regex", columns, gold, worth)
