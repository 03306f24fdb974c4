"""Templates: sentences that one puts around every prompt, from a file, the bare prompt always among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from alignpro.config import TEMPLATES
from alignpro.data.texts import blank, clean, decoded
from alignpro.errors import DataError, UnusableRow
from alignpro.types import Prompt

BARE = "{prompt}"
FIELDS = ("prompt", "system", "history")
BREAK = "---"
"""The line between templates of several lines."""
_NAME = r"[^\W\d]\w*"
_FIELD = re.compile(rf"\{{\{{(?P<plain>{_NAME})\}}\}}|\{{(?P<field>{_NAME})\}}(?P<after>\s*)")


@dataclass(frozen=True, slots=True)
class Template:
    """A text with {prompt} in it, for the prompt, and where it names them {system} and {history}, for what stands
    before the prompt; {{word}} is the text {word}.

    `number` counts the templates of a file from 1, but for the bare prompt, which is 0; `line` is where it begins, 0
    where the file has no bare prompt of its own.
    """

    number: int
    text: str
    line: int = 0

    @property
    def name(self) -> str:
        """What files and tables call it."""
        return f"template_{self.number}"

    def frame(self, prompt: Prompt) -> str:
        """The text x' that takes the place of the prompt's own. The bare prompt gives that as it is.

        A field of which the prompt has nothing takes the white space behind it with it, and that around the whole.
        """
        turns = "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in prompt.history)
        texts = dict(zip(FIELDS, (prompt.text, prompt.system or "", turns), strict=True))
        absent = False

        def put(place: re.Match[str]) -> str:
            nonlocal absent
            if place["plain"]:
                return f"{{{place['plain']}}}"
            absent = absent or not texts[place["field"]]
            return texts[place["field"]] and texts[place["field"]] + place["after"]

        framed = _FIELD.sub(put, self.text)
        return framed.strip() if absent else framed


def read_templates(name: str, setting: str = "evaluate.templates") -> tuple[Template, ...]:
    """The templates of a file, or of a list that ships with the package (`config.TEMPLATES`), the bare prompt first.

    A line of the file is a template; where a line of it is ---, what stands between such lines is. Errors name
    `setting`, the file and the line. Raises DataError for a template without {prompt}, with a field that is none or
    equal to another, and for a file with nothing but the bare prompt.
    """
    said = f"{setting} {name}"
    bare, others, lines = Template(0, BARE), list[Template](), dict[str, int]()
    for line, text in _texts(_text(name, said)):
        where = f"{said}, line {line}"
        try:
            text = clean(text)
        except UnusableRow as error:
            raise DataError(f"{where}: {error}") from None
        _check(text, where)
        if text in lines:
            raise DataError(f"{where}: the same template as in line {lines[text]}; leave one of them out")
        lines[text] = line
        if text == BARE:
            bare = Template(0, BARE, line)
        else:
            others.append(Template(len(others) + 1, text, line))
    if not others:
        held = "nothing but the bare prompt" if lines else "no template"
        raise DataError(
            f"{said}: it holds {held}; give at least one with words around {{prompt}}, one a line, or parted by lines"
            f" {BREAK}"
        )
    return (bare, *others)


def _text(name: str, said: str) -> str:
    try:
        if name in TEMPLATES:
            return (resources.files("alignpro.data") / "shipped" / f"{name}.txt").read_text(encoding="utf-8")
        return decoded(Path(name).expanduser().read_bytes(), said)
    except FileNotFoundError:
        shipped = " or ".join(TEMPLATES)
        raise DataError(f"{said}: the file does not exist; give a text file of templates, or {shipped}") from None
    except OSError as error:
        raise DataError(f"{said}: cannot be read ({error.strerror})") from None


def _texts(held: str) -> Iterator[tuple[int, str]]:
    """Each template with the line where it begins."""
    lines = held.split("\n")
    breaks = [number for number, line in enumerate(lines) if line.strip() == BREAK]
    ends = [*breaks, len(lines)] if breaks else range(1, len(lines) + 1)
    begin = 0
    for end in ends:
        text = "\n".join(lines[begin:end])
        if not blank(text):
            before = text[: len(text) - len(text.lstrip())]
            yield begin + 1 + before.count("\n"), text.strip()
        begin = end + bool(breaks)


def _check(text: str, where: str) -> None:
    """Raise DataError for a template in which the prompt would be lost, or that names a field there is not."""
    named = [place["field"] for place in _FIELD.finditer(text) if place["field"]]
    if unknown := next((field for field in named if field not in FIELDS), None):
        there_are = ", ".join(f"{{{field}}}" for field in FIELDS)
        raise DataError(
            f"{where}: unknown field {{{unknown}}}; there are {there_are}, and {{{{{unknown}}}}} is the text"
            f" {{{unknown}}}"
        )
    if "prompt" not in named:
        raise DataError(
            f"{where}: no {{prompt}} in {text[:60]!r}, so the user's prompt would be lost; a template of several lines"
            f" ends at a line {BREAK}"
        )
