"""Whether a rewrite answers its prompt instead of asking: what can be told by signs, without knowing the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alignpro.rewards.guards.lexicon import OPENERS, STATED
from alignpro.rewards.spans import spans

_OPENER = re.compile(rf"[\s*_#>\"“]*(?:{'|'.join(OPENERS)})", re.IGNORECASE)
_STATED = re.compile(
    rf"(?<![\"“'`*])(?:{'|'.join(STATED)})[*_ \t]*"
    r"(?P<value>[-+]?[$€£¥]?\d[\d.,]*|[\"“«「][^\"”»」\n]+|\(?[A-H][).]?(?=\s|$|\*)|[^\W\d_][^\n]{0,80}\.(?:\s|$))",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"(?:should|must|may|can|needs?|correct|clear|concise|short|brief|in|as|x|y|(?:yes|\(?[a-h]\)?),? or)\b",
    re.IGNORECASE,
)
"""What is said of an answer that is asked for."""
_EQUATION = re.compile(r"[\w)]\s?=\s?[-+]?[$€£]?(\d+(?:[.,]\d+)*)")
_FIGURES = re.compile(r"\d+(?:[.,]\d+)*")
_GOLD = re.compile(r".*####", re.DOTALL)
SHORTEST = 4
"""Signs of a gold answer in words, from which on it is looked for: yes, no and B stand in many a request."""


def answered(prompt: str, rewrite: str, row: Mapping[str, Any], column: str) -> str | None:
    """The sign by which a rewrite gives an answer that its prompt does not; None where there is none.

    It begins as answers do; it says what the answer is; it ends an equation by a number of its own; it holds the gold
    answer, where the row of the prompt has one in `column`.
    """
    opener = _OPENER.match(rewrite)
    if opener and not _OPENER.match(prompt):
        return opener[0].strip()
    for stated in _STATED.finditer(rewrite):
        if stated[0] not in prompt and not _FORM.match(rewrite, stated.start("value")):
            return stated[0].strip()
    ours = set(_FIGURES.findall(prompt))
    for equation in _EQUATION.finditer(rewrite):
        if equation[1] not in ours:
            return equation[0]
    gold = _gold(row.get(column))
    if gold is not None and _holds(rewrite, gold) and not _holds(prompt, gold):
        return gold
    return None


def _gold(value: Any) -> str | None:
    """A gold answer by which a rewrite that holds it is told; of a worked one, what stands behind ####."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = _GOLD.sub("", str(value)).strip()
    return text if len(text) >= SHORTEST or spans("numbers", text) else None


def _holds(text: str, gold: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", text, re.IGNORECASE) is not None
