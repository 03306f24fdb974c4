"""Where in the text of a JSON document its values stand, so that one can be replaced and every other byte stays."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_read = json.JSONDecoder().raw_decode


class Value(NamedTuple):
    """A value, and the characters from `start` to `end` that spell it."""

    value: Any
    start: int
    end: int


def depth(text: str) -> int:
    """How deep lists and objects stand in one another, also in what is no JSON."""
    now = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        now += 1 if bracket in "[{" else -1
        deepest = max(deepest, now)
    return deepest


def whole_object(text: str) -> dict[str, Value]:
    """The values of the object that the text is; of equal names the last counts. Raises ValueError."""
    found, end = _object(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise ValueError("something stands behind the object")
    return found


def members(text: str, start: int) -> dict[str, Value]:
    """The values of the object that begins at `start`; of equal names the last counts. Raises ValueError."""
    return _object(text, start)[0]


def elements(text: str, start: int) -> list[Value]:
    """The values of the list that begins at `start`. Raises ValueError."""
    found: list[Value] = []
    at = _opened(text, start, "[")
    while text[at : at + 1] != "]":
        found.append(_value(text, at))
        at = _behind(text, found[-1].end, "]")
    return found


def spliced(text: str, changes: Mapping[tuple[int, int], str]) -> str:
    """The text with what stands at each (start, end), of which none overlap, replaced."""
    parts, at = [], 0
    for (start, end), new in sorted(changes.items()):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def spelt(text: str, beside: str = "") -> str:
    """A text as JSON, with escapes for all that is not ASCII unless `beside` holds such letters as they are."""
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=beside.isascii())


def _object(text: str, start: int) -> tuple[dict[str, Value], int]:
    found: dict[str, Value] = {}
    at = _opened(text, start, "{")
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise ValueError("a name is wanted")
        name, at = _read(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("a colon is wanted")
        found[name] = _value(text, _skip(text, at + 1))
        at = _behind(text, found[name].end, "}")
    return found, at + 1


def _opened(text: str, start: int, bracket: str) -> int:
    if text[start : start + 1] != bracket:
        raise ValueError(f"{bracket} is wanted")
    return _skip(text, start + 1)


def _behind(text: str, at: int, bracket: str) -> int:
    """Where the next value, or the closing bracket, stands."""
    at = _skip(text, at)
    if text[at : at + 1] == bracket:
        return at
    if text[at : at + 1] != ",":
        raise ValueError("a comma is wanted")
    at = _skip(text, at + 1)
    if text[at : at + 1] == bracket:
        raise ValueError("a comma before the end")
    return at


def _value(text: str, start: int) -> Value:
    value, end = _read(text, start)
    return Value(value, start, end)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
