"""The texts of data: decoded from bytes, in Unicode's normal form, and whether there is anything in them to see."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Any

from alignpro.errors import DataError, UnusableRow

CUT_CHARACTER = "half a character (an unpaired surrogate, or bytes that are no UTF-8)"
NUL = "a NUL character"

BAD_SHARE = 0.1
"""Share of the lines that cannot be read, past which a file is not what its name or its first bytes say it is."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HALF = re.compile("[\ud800-\udfff]")
_BROKEN = re.compile("[\0\ud800-\udfff]")
_SEEN = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    r"\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""What is neither white space nor a control, nor ignorable by default, nor a filler."""


def decoded(held: bytes, said: str) -> str:
    r"""The text of a file, its lines ended by \n: UTF-8, or UTF-16 or UTF-32 where its first bytes say so.

    What is no UTF-8 in a few lines stands in them as halves of characters. Raises DataError where it is in too many.
    """
    name = next((name for mark, name in _MARKS if held.startswith(mark)), "utf-8-sig")
    try:
        text = held.decode(name, "surrogateescape" if name == "utf-8-sig" else "surrogatepass")
    except UnicodeDecodeError as error:
        line = held.count(b"\n", 0, error.start) + 1
        raise DataError(f"{said}, line {line}: not {name.upper()} text ({error.reason}); save it as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _BROKEN.search(text):
        lines = text.split("\n")
        broken = [number for number, line in enumerate(lines, 1) if _BROKEN.search(line)]
        if len(broken) > BAD_SHARE * len(lines):
            found = _BROKEN.search(lines[broken[0] - 1])
            what = "a NUL character (UTF-16?)" if found and found[0] == "\0" else "not UTF-8 text"
            raise DataError(f"{said}, line {broken[0]}: {what}; save the file as UTF-8")
    return text


def clean(text: object, where: str = "a text is wanted") -> str:
    """A text as models are shown it: Unicode-normalised (NFC), without byte order marks. Raises UnusableRow."""
    if not isinstance(text, str):
        raise UnusableRow(f"{kind(text)} where {where}")
    if text.isascii() and "\0" not in text:
        return text
    if found := _BROKEN.search(text):
        raise UnusableRow(NUL if found[0] == "\0" else CUT_CHARACTER)
    return unicodedata.normalize("NFC", text.replace("\ufeff", ""))


def blank(text: str) -> bool:
    """Whether there is nothing to see in it: white space, zero-width characters and the like alone."""
    return _SEEN.search(text) is None


def check(value: Any, depth: int = 100) -> None:
    """Raise UnusableRow where a text in the value, however deep, holds half a character, or where it is too deep."""
    if isinstance(value, str):
        if not value.isascii() and _HALF.search(value):
            raise UnusableRow(CUT_CHARACTER)
    elif isinstance(value, (dict, list)):
        if not depth:
            raise UnusableRow("nested too deeply")
        for held in (*value.keys(), *value.values()) if isinstance(value, dict) else value:
            check(held, depth - 1)


def mended(text: str) -> str:
    """The text with the mark for an unreadable character in the place of each half of one."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def kind(value: object) -> str:
    """What a value is, in the words of a message."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (type(None), "null"),
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "a text"),
        ((list, tuple), "a list"),
        (dict, "an object"),
    )
    return next((word for which, word in kinds if isinstance(value, which)), type(value).__name__)
