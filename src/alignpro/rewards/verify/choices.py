"""`verify:choice`: the letter that the answer means is the gold letter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alignpro.errors import SettingsError, UnusableRow
from alignpro.rewards.verify.meant import Mention, meant
from alignpro.rewards.verify.normal import normal
from alignpro.rewards.verify.numbers import NEAR, readable
from alignpro.rewards.verify.texts import occurrences
from alignpro.rewards.verify.verifier import Verifier, cell

_LETTER = re.compile(
    r"(?<![0-9A-Za-z_À-ӿ'.&°-])(?<!° )(?P<open>[(\[{'\"⟦])?\s?(?P<letter>[A-Za-z])"
    r"(?P<close>\s?[)\]}'\"⟧])?(?![0-9A-Za-z_À-ӿ']|[-&]\w|\+|#|\.\w)"
)
_NAMED = re.compile(
    r"\b(?i:vitamins?|plan|grade|hepatitis|type|group|points?|line|team|class|appendix|section|part|side|angle"
    r"|vertex|note|model"
    r"|influenza|big|vs|versus|variable|set|event|drug|company|(?:mr|mrs|ms|dr|prof|st)\.?)\s*$|[A-Z]\.\s?$|\b(?!(?:Answer"
    r"|Option|Choice|Letter"
    r"|Is|Not|So|Thus|Hence|Therefore|Final|Pick|Choose|Select|Or|And|But|Either|Neither|Nor|Only|Yes|No|Both|All"
    r"|None|Between|Options|Choices|Actually|Wait|\w+ly)\b)"
    r"[A-Z][a-z]+ $"
)
_GOES_ON = re.compile(
    r"\s*(?:major|minor|sharp|flat|cells?|vitamins?|is for)\b|\s*[=<>^]\s*\d|\s?\.\s?[A-Z]\b\.", re.IGNORECASE
)
_COMPARED = re.compile(
    r"\b(?:than|after|before|like|unlike|beside|near|follows?|precedes?)\s+(?:(?:option|choice)\s+)?$", re.IGNORECASE
)
_ASKED = re.compile(
    r"(?:\b(?:option|choice|answer|letter|pick|choose|select|antwort|réponse|respuesta)(?:\s+(?:is|ist|est|es))?|[:=]"
    r"|答案是?|选项?|選|答えは|正解は)\s*$",
    re.IGNORECASE,
)
_WORD = re.compile(
    r"[ \t]+(?!(?:is|was|would|seems|looks|has|fits|works|and|or|but|because|since|as|not|too|it|only|here)\b)"
    r"[^\W\d_]{2}"
)


@dataclass(frozen=True)
class Choice:
    """The gold letter, and the letter of each option's text where a row has those."""

    letter: str
    options: Mapping[str, str]


def choice(
    column: str = "answer", letters: str = "ABCDEFGHIJ", options: str | None = None, count_from: int | None = None
) -> Verifier[Choice]:
    """1 where the one letter that the answer means is the gold letter.

    `letters`: those that there may be. `options` names a column with the options' texts, a list or an object by letter:
    a text then says its letter, and gold may be one. `count_from` 0 or 1: gold is a number, an option's place. Raises
    SettingsError for letters that are none.
    """
    if not re.fullmatch("[A-Z]+", letters) or count_from not in (None, 0, 1):
        raise SettingsError(
            f"letters {letters!r}, count_from {count_from}; wanted capitals of A to Z, and 0 or 1 or null"
        )

    def gold(row: Mapping[str, Any]) -> Choice:
        told = _options(cell(row, options), letters) if options else {}
        value = cell(row, column)
        if count_from is not None:
            place = value - count_from if isinstance(value, int) else -1
            if not 0 <= place < len(letters):
                raise UnusableRow(f"{column} is no place among {letters}, counted from {count_from}")
            return Choice(letters[place], told)
        found = re.fullmatch(r"[(\[]?\s*([A-Za-z])\s*(?:[)\].:].*)?", str(value).strip(), re.DOTALL)
        letter = told.get(normal(str(value))) or (found[1].upper() if found else "")
        if letter not in letters or not letter:
            raise UnusableRow(f"{column} is no letter of {letters}")
        return Choice(letter, told)

    def worth(wanted: Choice, answer: str) -> float:
        text = readable(answer)
        mentions = [*_letters(text, letters)]
        for words, letter in sorted(wanted.options.items(), key=lambda item: -len(item[0])):
            for start, end in occurrences(text.casefold(), words):
                if not any(m.start < end and start < m.end for m in mentions):
                    mentions.append(Mention(start, end, letter))
        return float(meant(text, sorted(mentions, key=lambda m: m.start), unanimous=True) == wanted.letter)

    return Verifier("verify:choice", (column, *([options] if options else [])), gold, worth)


def _options(value: Any, letters: str) -> dict[str, str]:
    if isinstance(value, list) and len(value) <= len(letters):
        value = dict(zip(letters, value, strict=False))
    if not isinstance(value, dict):
        raise UnusableRow("the options are neither a list nor an object by letter")
    return {normal(str(text)): str(letter) for letter, text in value.items() if text is not None and normal(str(text))}


def _letters(text: str, letters: str) -> Iterator[Mention]:
    """The letters that a text names as options: not those that are words, initials or names."""
    alone = re.sub(r"[\W_]", "", text)
    for found in _LETTER.finditer(text):
        letter, lead, tail = found["letter"], text[max(0, found.start() - NEAR) : found.start()], text[found.end() :]
        if letter.upper() not in letters or (letter == "A" and not text[: found.start()].strip() and tail[:1] == ":"):
            continue  # "A:" at the beginning says "answer"
        marked = (
            bool(found["close"])
            or alone.upper() == letter.upper()
            or (not text[: found.start()].strip() and tail[:1] in (".", ":"))
        )
        named = (_NAMED.search(lead) and not _ASKED.search(lead)) or _GOES_ON.match(tail)
        if not marked:
            if named or (letter.upper() in "AI" and _WORD.match(tail)):
                continue
            if letter.islower() and not _ASKED.search(lead):
                continue
            if letter == "I" and not _ASKED.search(lead):
                continue
        value = None if _COMPARED.search(lead) else letter.upper()
        yield Mention(found.start("letter"), found.end("letter"), value)
