"""Which of the values that an answer names it means in the end.

An answer may name many: those of the question, those on the way, those that it takes back. A value counts where it is
asserted: not denied ("it is not 12"), asked ("12?"), told of others ("many say 12") or taken back ("12. No, 14"). Of
those that count, a marked one ("the answer is", `\\boxed`, `####`) goes before the last; two that differ and are both
left standing mean nothing. Where it is unsure, an answer means nothing: a right one is missed rather than a wrong one
taken.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from alignpro.rewards.verify import cues

_SENTENCE = re.compile(
    r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)(?<!\bapprox\.)(?<=[.!?])\s+|(?<=[。！？])|\n+", re.IGNORECASE
)

_SUM = re.compile(r"[\d\s.+*/×·÷x()-]+|[\d\s.]+(?:plus|minus|times)[\d\s.]+", re.IGNORECASE)


@dataclass(frozen=True)
class Mention:
    """A value where an answer names it; None for what is named there and can never be right ("more than 12")."""

    start: int
    end: int
    value: Hashable


@dataclass(frozen=True)
class _Sentence:
    start: int
    end: int
    mentions: tuple[Mention, ...]

    def bare(self, text: str) -> bool:
        """Whether it says its one value and nothing else."""
        values = {m.value for m in self.mentions}
        rest = text[self.start : self.mentions[0].start] + text[self.mentions[-1].end : self.end]
        return len(values) == 1 and not re.search(r"[^\W_]{2,}", rest)


def meant(text: str, mentions: Sequence[Mention], unanimous: bool = False) -> Hashable:
    """The value that the answer means in the end; None where there is none, or more than one.

    Without a mark the last sentence that says one decides; if `unanimous`, all that are left standing must be one.
    """
    sentences = asserted(text, mentions)
    for mark in cues.MARKS:
        marked = [part for sentence in sentences for part in _marked(text, sentence, mark)]
        if marked:
            values = {_pick(text, part, not unanimous) for part in marked}
            last = marked[-1]
            later = {s.mentions[0].value for s in sentences if s.start >= last.end and s.mentions and s.bare(text)}
            return values.pop() if len(values | later) == 1 else None
    said = [sentence for sentence in sentences if sentence.mentions]
    sure = [s for s in said if not cues.SUPPOSED.search(text[s.start : s.mentions[-1].start])] or said
    if unanimous:
        values = {_pick(text, s, sums=False) for s in said}
        return values.pop() if len(values) == 1 else None
    return _last(text, [s for s in sure if not cues.CHECK.match(text, s.start, s.end)] or sure)


def asserted(text: str, mentions: Sequence[Mention]) -> list[_Sentence]:
    """The sentences of an answer, each with those of its mentions that nothing denies or takes back."""
    bounds = [0, *(m.end() for m in _SENTENCE.finditer(text)), len(text)]
    whole = [
        _Sentence(start, end, tuple(m for m in mentions if start <= m.start < end))
        for start, end in pairwise(bounds)
        if start < end
    ]
    denied = [[_denied(text, sentence, m) for m in sentence.mentions] for sentence in whole]
    last = max((number for number, each in enumerate(denied) if not all(each)), default=-1)
    kept: list[_Sentence] = []
    for number, (sentence, each) in enumerate(zip(whole, denied, strict=True)):
        line = text[sentence.start : sentence.end]
        stands = [m for m, wrong in zip(sentence.mentions, each, strict=True) if not wrong]
        refused = {m.value for m, wrong in zip(sentence.mentions, each, strict=True) if wrong} - {None}
        asked = line.rstrip(' \n"*)').endswith(("?", "？"))
        if asked and not cues.YES.match(text, sentence.end, sentence.end + 20):
            stands = []
        retracts = not sentence.mentions and len(line.split()) <= 14 and cues.RETRACTION.search(line)
        turn = _turn(text, sentence, stands, last > number)
        if turn is not None or (retracts and not cues.NO_RETRACTION.search(line)):
            kept = [replace(before, mentions=()) if before.mentions else before for before in kept]
            stands = [m for m in stands if turn is None or m.start >= turn]
        refused -= {m.value for m in stands}
        if refused:
            kept = [replace(s, mentions=tuple(m for m in s.mentions if m.value not in refused)) for s in kept]
        kept.append(replace(sentence, mentions=tuple(stands)))
    return kept


def taken_back(text: str, start: int, end: int) -> bool:
    """Whether what stands before `start` is taken back after it for something else, in this sentence (it ends at `end`)
    or later."""
    if any(
        re.search(r"\w", text[cue.end() :])
        for cue in (*cues.SUPERSEDES.finditer(text, start), *cues.AFRESH.finditer(text, start))
    ):
        return True
    return any(
        re.match(r"\W*(?:it|that|this|really|actually|in fact|rather|the)\b", text[cue.end() : end], re.IGNORECASE)
        or not re.match(r"but|however", cue[0], re.IGNORECASE)
        for cue in cues.TURNS.finditer(text, start, end)
    )


def _denied(text: str, sentence: _Sentence, mention: Mention) -> bool:
    lead = re.sub(r"\([^()]*\)", " ", text[sentence.start : mention.start])
    scope = lead[max((m.end() for m in cues.BREAK.finditer(lead)), default=0) :]
    others = [m.end for m in sentence.mentions if m.end <= mention.start and m.value != mention.value]
    breaks = [m.end() for m in cues.BREAK.finditer(text, sentence.start, mention.start)]
    told = text[max(others + breaks, default=sentence.start) : mention.start]
    if (
        cues.DENIAL.search(scope)
        or cues.TOLD.search(told)
        or any(cue.search(lead) for cue in (cues.ASIDE, cues.WERE, cues.ALL_BUT))
    ):
        return True
    following = [m.start for m in sentence.mentions if m.start >= mention.end and m.value != mention.value]
    tail = text[mention.end : min(following, default=sentence.end)]
    reason = cues.OF_OTHERS.search(tail)
    return bool(cues.DENIED_AFTER.search(tail[: reason.start()] if reason else tail))


def _turn(text: str, sentence: _Sentence, stands: Sequence[Mention], later: bool) -> int | None:
    """Where the sentence takes back what was said before, if another value comes then, in it or (`later`) after it."""
    cuts = []
    for cue in cues.SUPERSEDES.finditer(text, sentence.start, sentence.end):
        if later or any(m.start >= cue.end() for m in stands):
            cuts.append(cue.end())
    for cue in cues.TURNS.finditer(text, sentence.start, sentence.end):
        first = next((m for m in stands if m.start >= cue.end()), None)
        if first and cues.FILLER.fullmatch(text, cue.end(), first.start):
            cuts.append(cue.end())
    return max(cuts, default=None)


def _marked(text: str, sentence: _Sentence, mark: re.Pattern[str]) -> list[_Sentence]:
    """The stretches of a sentence that a mark introduces, where a value stands in them."""
    parts = []
    for found in mark.finditer(text, sentence.start, sentence.end):
        end = sentence.end
        if found[0] == cues.BOX:
            closing = text.find("⟧", found.end(), sentence.end)
            end = closing if closing >= 0 else end
        inside = tuple(m for m in sentence.mentions if found.end() <= m.start < end)
        if inside:
            parts.append(_Sentence(found.end(), end, inside))
    for m in sentence.mentions:
        if mark is cues.MARKS[-1] and cues.IS_THE_ANSWER.match(text, m.end, sentence.end):
            parts.append(_Sentence(m.start, m.end, (m,)))
    return parts


def _last(text: str, said: Sequence[_Sentence]) -> Hashable:
    """The value of the last sentence that has one; None where it has two, or is one more of several."""
    if not said:
        return None
    last = said[-1]
    value = _pick(text, last)
    before = [s for s in said[:-1] if {m.value for m in s.mentions} != {m.value for m in last.mentions}]
    hedged = cues.ANOTHER.match(text, last.start, last.end) or cues.HEDGE.search(text, last.start, last.end)
    another = hedged or (last.bare(text) and before and before[-1].bare(text))
    if another and before:
        return None
    first = said[0]
    if value is None and first is not last and first.bare(text) and not cues.OR.search(text, last.start, last.end):
        return first.mentions[0].value
    return value


def _pick(text: str, part: _Sentence, sums: bool = True) -> Hashable:
    """The one value that a stretch of text says; None where it says several. `sums`: what follows a last "=" counts."""
    mentions = part.mentions
    for _ in range(3):
        if len({m.value for m in mentions}) == 1:
            return mentions[0].value
        apart = [text[a.end : b.start] for a, b in pairwise(mentions) if a.value != b.value]
        if any(_alternative(between) for between in apart):
            return None
        outside = tuple(m for m in mentions if not _in_parentheses(text, part, m))
        why = (cues.WHY if sums else cues.BECAUSE).search(text, mentions[0].end, part.end)
        said_first = why and cues.FILLER.fullmatch(text, part.start, mentions[0].start)
        early = tuple(m for m in mentions if why and said_first and m.start < why.start())
        if outside and len(outside) < len(mentions):
            mentions = outside
        elif len({m.value for m in early}) == 1:
            mentions = early
        else:
            break
    if len({m.value for m in mentions}) == 1:
        return mentions[0].value
    return _of_an_equation(text, part, mentions) if sums else None


def _of_an_equation(text: str, part: _Sentence, mentions: Sequence[Mention]) -> Hashable:
    """What stands after the last "=" or "is", where only one thing is said to be something."""
    links = [
        link
        for link in cues.EQUALS.finditer(text, part.start, part.end)
        if not any(m.start <= link.start() < m.end for m in mentions)
    ]
    if not links or len(set(cues.VARIABLE.findall(text[part.start : part.end]))) > 1:
        return None
    after = [m for m in mentions if m.start >= links[-1].end()]
    why = cues.WHY.search(text, after[0].end, part.end) if after else None
    right = {m.value for m in after if not why or m.start < why.start()}
    left = {m.value for m in mentions if m.end <= links[-1].start()}
    said = [next((m for m in mentions if m.start >= link.end()), None) for link in links]
    results = [m for m in said if m]
    for a, b in pairwise(results):
        if a.value != b.value and cues.AND.search(text, a.end, b.start):
            return None
    if len(right) == 1:
        return right.pop()
    tail = text[links[-1].end() : part.end].strip(" .!")
    if len(left) == 1 and right and _SUM.fullmatch(tail):
        return left.pop()
    return None


def _alternative(between: str) -> bool:
    """Whether what stands between two values sets one beside the other, or under a condition."""
    return between.strip() == "/" or bool(cues.OR.search(between) or cues.CONDITION.search(between))


def _in_parentheses(text: str, part: _Sentence, mention: Mention) -> bool:
    lead = text[part.start : mention.start]
    return lead.count("(") > lead.count(")") and ")" in text[mention.end : part.end]
