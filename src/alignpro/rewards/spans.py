"""What of x must stand in x': numbers, addresses, code, quoted texts, placeholders, words. Terms on the rewrite weigh
it, and guards insist on it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import regex

from alignpro.maths import lengths

_PATTERNS: dict[str, re.Pattern[str] | regex.Pattern[str]] = {
    "numbers": re.compile(r"\d+(?:[.,:/-]\d+)*"),
    "urls": re.compile(r"(?:(?:https?|ftp)://|\bwww\.)[^\s<>\"'`“”«»]+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"),
    "code": re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL),
    "quotes": re.compile(r"\"[^\"\n]+\"|“[^“”\n]+”|„[^„“”\n]+[“”]|«[^«»\n]+»|「[^「」\n]+」|『[^『』\n]+』|`[^`\n]+`"),
    "placeholders": re.compile(r"\{\{?[^{}\n]*\}?\}|\$\{?\w+\}?|<[\w -]+>|\[[A-Z][A-Z0-9_ -]*\]|%\(?\w*\)?[sdf]\b"),
    # words of four letters and more, of two in Korean; in scripts that put no space between words, every character
    "words": regex.compile(
        rf"{lengths.UNSPACED}\p{{M}}*|[\p{{L}}\p{{M}}--{lengths.UNSPACED}]{{4,}}|\p{{Hangul}}{{2,}}", regex.V1
    ),
}
_ITEM = re.compile(r"^[ \t]*\d{1,3}[.)](?=\s)", re.MULTILINE)
"""The number of an item of a list."""
_GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_ENDS = ".,;:!?。，！？ "


def spans(kind: str, text: str) -> set[str]:
    """The different spans of a kind in a text, in the spelling by which they are compared.

    Case does not matter but in addresses, code and placeholders. Numbers are in ASCII's figures, without commas between
    thousands; those of a list's items count for none. Of quotes and code the text within counts, whatever is around it.
    """
    return {span for span in map(_SPELT[kind], _listed(kind, text)) if span}


def lost(kind: str, prompt: str, rewrite: str) -> tuple[set[str], int]:
    """The spans of a prompt that its rewrite lacks, and how many the prompt has.

    A number must stand there as a number, so that 12 is not kept by 120; of two that a sign joins, as in 10-20, each
    may stand alone. A quoted text or a block of code may stand there unquoted.
    """
    wanted = spans(kind, prompt)
    if not wanted:
        return wanted, 0
    if kind in ("quotes", "code"):
        there = _SPELT[kind](rewrite)
        return {span for span in wanted - spans(kind, rewrite) if span not in there}, len(wanted)
    if kind == "numbers":  # an item's number may hold one that was asked about
        kept = {_number(text) for text in _PATTERNS[kind].findall(rewrite)}
        kept |= {part for text in kept for part in _parts(text)}
        return {span for span in wanted - kept if not kept.issuperset(_parts(span))}, len(wanted)
    return wanted - spans(kind, rewrite), len(wanted)


def _listed(kind: str, text: str) -> list[str]:
    if kind == "code":
        return [match[2] for match in _PATTERNS[kind].finditer(text)]
    if kind == "quotes":
        return [match[1:-1] for match in _PATTERNS[kind].findall(text)]
    return list(_PATTERNS[kind].findall(_ITEM.sub("", text) if kind == "numbers" else text))


def _number(text: str) -> str:
    figures = "".join(str(unicodedata.digit(sign, sign)) for sign in text)
    return re.sub("[.,]", "", figures) if _GROUPED.fullmatch(figures) else figures


def _parts(number: str) -> list[str]:
    return re.split("[:/-]", number)


def _said(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_ENDS)


_SPELT: dict[str, Callable[[str], str]] = {
    "numbers": _number,
    "urls": lambda text: text.rstrip(f"{_ENDS})]}}"),
    "code": lambda text: "\n".join(line.rstrip() for line in text.splitlines()).strip("\n"),
    "quotes": _said,
    "placeholders": str,
    "words": str.casefold,
}
