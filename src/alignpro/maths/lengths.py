"""How long a text is, by Unicode's rules for words and for what a reader takes for one character (UAX #29)."""

from __future__ import annotations

import regex

UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Line_Break=SA}\u30fc--\P{L}]"
"""A letter of a script that puts no space between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese and their kin."""

_WORD = regex.compile(r"\b_*[\p{L}\p{N}]", regex.V1 | regex.WORD)
_BOUND = regex.compile(r"\b", regex.V1 | regex.WORD)
_CHARACTER = regex.compile(r"\X", regex.V1)


def words(text: str) -> int:
    """How many stretches between two of Unicode's word boundaries hold a letter or a figure.

    Scripts without spaces are counted by characters as a reader sees them, Katakana apart, since where their words end
    only a dictionary knows: a sentence has more of them than of words, and is never one.
    """
    return sum(1 for _ in _WORD.finditer(text))


def words_of(text: str) -> list[str]:
    """The words that `words` counts, in their order and as they are written."""
    return [part for part in _BOUND.split(text) if _WORD.match(part)]


def characters(text: str) -> int:
    """How many characters a reader sees: a letter with its accents, a flag and a family of emoji are one each."""
    return len(text) - text.count("\r\n") if text.isascii() else sum(1 for _ in _CHARACTER.finditer(text))
