"""What goes to a terminal: texts of users and models, whatever they hold, as something that can be read."""

from __future__ import annotations

import io
import re
import sys

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """The text with every control character but tab and newline as its escape, so that it moves no cursor, sets no
    colour and rings no bell."""
    return _CONTROLS.sub(lambda mark: mark[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def replace_what_cannot_be_shown() -> None:
    """Let the streams of this process put a mark in the place of characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
