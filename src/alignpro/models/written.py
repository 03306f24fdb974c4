"""What a model wrote: its thoughts told apart from its answer, and the rewrite x' read out of a prompter's.

Both take time in proportion to the text, whatever stands in it.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alignpro.types import Generation

Marks = tuple[str, str]
"""Where a thought begins and where it ends."""
NO_ANSWER = "no answer after its thought, which took all of max_new_tokens or never ended; raise max_new_tokens"
"""The failure of a text that a thought left nothing of."""
EMPTY_REWRITE = "empty rewrite"
"""The failure of a prompter's text in which no rewrite can be read."""

_FENCE = r"^[ \t]*(?:```|~~~)"
_QUOTES = {'"': '"', "'": "'", "“": "”", "`": "`", "«": "»"}
_SENTENCE_ENDS = (".", "!", "?", ")", "…", "。", "！", "？")
_NEAR = 8
"""Characters before a mark that are looked at."""
_REWRITE = re.compile(r"<(/?)rewrite>", re.IGNORECASE)
_OPENER = r"(?:(?:sure|certainly|of course|okay|ok|absolutely|great|yes|alright|gladly)\b[^\n:.!]{0,40}[.!,:]*\s{0,4})"
_HERE = r"here(?:['’]s| is| are)"
_BETTER = r"(?:rewritten|re-?phrased|re-?worded|improved|revised|refined|better|optimi[sz]ed|enhanced|polished)"
_THING = r"(?:request|prompt|version|question|query|instructions?|rewrite)"
_PREAMBLE = re.compile(
    rf"\A{_OPENER}{_HERE}\b[^\n:]{{0,80}}:\s*"
    rf"|\A{_HERE}\s(?:(?:the|your|a|an|my|one|possible|more|clearer|new|and)\s){{0,4}}{_BETTER}\b[^\n:]{{0,60}}:\s*"
    rf"|\A{_OPENER}?[*_#]{{0,3}}\s?(?:the |your |a |my )?{_BETTER} {_THING}[*_]{{0,3}}\s*:[*_]{{0,3}}\s*",
    re.IGNORECASE,
)
_BLOCK = re.compile(r"\A```(?:te?xt|plain(?:text)?|markdown|md|prompt)?[ \t]*\n(.*?)^```[ \t]*$", re.S | re.I | re.M)
_FAREWELL = re.compile(r"\s*(?:let me know|i hope|hope this|feel free|would you like)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parted:
    """A text without its thoughts, and those; `closed` is False of a text that ends inside one."""

    answer: str
    thought: str = ""
    closed: bool = True


def parted(text: str, marks: Sequence[Marks], opened: Marks | None = None, cut: bool = False) -> Parted:
    """The text and the thoughts in it.

    A thought begins with its mark at the start of a line or after a sentence, or, `opened`, before the text; it may
    have begun unsaid, where the text holds its end alone. Marks in quotes, in a block of code or in the midst of a
    sentence are spoken of, and are text. `cut` says that the text was broken off.
    """
    if opened is None and not _may_hold(text.lower(), tuple(marks)):
        return Parted(text.strip())
    pairs = {begin.lower(): end.lower() for begin, end in marks}
    ends, spoken_of = set(pairs.values()), Counter[str]()
    answer, thoughts = list[str](), list[str]()
    done, fenced, sure, quoted = 0, False, opened is not None, None
    end = opened[1].lower() if opened else None  # of the thought that the text is in
    for sign in _signs(tuple(marks)).finditer(text) if marks else ():
        mark, at = sign[0].lower(), sign.start()
        if end is not None:
            if mark != end:
                continue
            if _in_quotes(text, at, sign.end()):
                quoted = sign
                continue
            thoughts.append(text[done:at])
            done, end, quoted = sign.end(), None, None
        elif mark not in pairs and mark not in ends:
            fenced = not fenced
        elif _in_quotes(text, at, sign.end()):
            continue
        elif mark in pairs:
            near = text[max(done, at - _NEAR) : at].rstrip(" \t")
            sure = near.endswith("\n") or (not near and at - done < _NEAR)
            if not fenced and (sure or near.endswith(_SENTENCE_ENDS)):
                answer.append(text[done:at])
                done, end = sign.end(), pairs[mark]
            else:
                spoken_of[pairs[mark]] += 1
        elif spoken_of[mark]:
            spoken_of[mark] -= 1
        elif _ends_a_thought(text, done, sign):
            thoughts.append(text[done:at])
            done, fenced = sign.end(), False
    if end is not None and quoted is not None and not cut:
        thoughts.append(text[done : quoted.start()])
        done, end = quoted.end(), None
    if end is not None and (sure or cut):
        return Parted("".join(answer).strip(), "\n\n".join([*thoughts, text[done:]]).strip(), closed=False)
    begun = next((begin for begin, closing in marks if closing.lower() == end), "")  # spoken of, after all
    whole = "".join([*answer, begun, text[done:]]).strip()
    thought = "\n\n".join(one.strip() for one in thoughts).strip()
    return Parted(whole, thought, closed=bool(whole) or not (cut and thoughts))


def opened_by(prompt: str, marks: Sequence[Marks]) -> Marks | None:
    """The marks of a thought that the end of a prompt leaves open."""
    text = prompt.lower()
    return next((pair for pair in marks if text.rfind(pair[0].lower()) > text.rfind(pair[1].lower())), None)


def rewrite_in(text: str) -> str | None:
    """The rewrite x' in what a prompter wrote, its thoughts apart, or None where there is none.

    The last complete pair of marks counts; without one, what follows an opening mark (the model was cut off); without
    marks, the whole text. Of either, what is around it is taken off: "Sure! Here is the rewritten prompt:", a block
    of code that holds it, one pair of quotes.
    """
    begun, complete = None, None
    for sign in _REWRITE.finditer(text):
        if not sign[1]:
            begun = sign.end() if begun is None else begun
        elif begun is not None:
            begun, complete = None, text[begun : sign.start()]
    if complete is None:
        complete = text if begun is None else text[begun:]
    return _bare(complete.strip()) or None


def as_rewrite(written: Generation) -> Generation:
    """What a prompter wrote with x' as its text, or with a `failure` where none can be read."""
    if written.failure:
        return written
    text = rewrite_in(written.text)
    return replace(written, text=text) if text else replace(written, failure=EMPTY_REWRITE)


def _bare(text: str) -> str:
    introduced = _PREAMBLE.match(text)
    if introduced:
        text = text[introduced.end() :].strip()
        first, _, last = text.rpartition("\n")
        text = first.strip() if first and _FAREWELL.match(last) else text
    block = _BLOCK.match(text)
    if block and (introduced or not text[block.end() :].strip()):
        text = block[1].strip()
    if len(text) >= 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


@functools.lru_cache
def _signs(marks: tuple[Marks, ...]) -> re.Pattern[str]:
    listed = sorted({mark for pair in marks for mark in pair}, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, listed), _FENCE]), re.IGNORECASE | re.MULTILINE)


def _may_hold(lowered: str, marks: tuple[Marks, ...]) -> bool:
    """Whether a text has the first character of any mark."""
    for begins in _beginnings(marks):  # noqa: SIM110, a generator takes twice as long
        if begins in lowered:
            return True
    return False


@functools.lru_cache
def _beginnings(marks: tuple[Marks, ...]) -> tuple[str, ...]:
    return tuple({mark.lower()[0] for pair in marks for mark in pair})


def _in_quotes(text: str, start: int, end: int) -> bool:
    return start > 0 and _QUOTES.get(text[start - 1]) == text[end : end + 1]


def _ends_a_thought(text: str, done: int, sign: re.Match[str]) -> bool:
    near = text[max(done, sign.start() - _NEAR) : sign.start()].rstrip(" \t")
    behind = text[sign.end() : sign.end() + 1]
    return not near or near.endswith(("\n", *_SENTENCE_ENDS)) or behind in ("", "\n", "\r")
