"""Words and sentences of any script, by Unicode's rules and ICU's dictionaries."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import regex

from alignpro.errors import SettingsError
from alignpro.maths.lengths import UNSPACED
from alignpro.rewards.verify.verifier import EXTRA

_JOINED = regex.compile(UNSPACED, regex.V1)
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|e\.g|i\.e|cf|no|fig|approx|dept|inc|ltd|co|mt|gen|col|rev|hon|vol"
    r"|ed|p|pp)"
    r"|\b[A-Z])\.\s*$",
    re.IGNORECASE,
)


def joined(text: str) -> bool:
    """Whether some of it is of a script without spaces between words."""
    return _JOINED.search(text) is not None


def word_edges(text: str) -> set[int]:
    """Where words may begin and end, in characters."""
    return {0, *accumulate(map(len, _icu().WordBreaker(text, "en")))}


def words(text: str) -> list[str]:
    """The words: what holds a letter or a figure, between two of ICU's bounds."""
    return [word for word in _icu().WordBreaker(text, "en") if any(sign.isalnum() for sign in word)]


def sentences(text: str) -> list[str]:
    """The sentences that hold a word; none ends at a common abbreviation or an initial."""
    whole: list[str] = []
    for part in _icu().SentenceBreaker(text, "en"):
        if whole and _ABBREVIATION.search(whole[-1]) and "\n" not in whole[-1]:
            whole[-1] += part
        else:
            whole.append(part)
    return [part.strip() for part in whole if any(sign.isalnum() for sign in part)]


def _icu() -> Any:
    try:
        from icu4py import breakers
    except ImportError as error:
        raise SettingsError(
            f"counting words needs the package icu4py, which is not here ({error}); {EXTRA}, on Python 3.11 or newer"
        ) from error
    return breakers
