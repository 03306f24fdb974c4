"""Pairs of answers from records: which was preferred to which, by how much, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from alignpro.data.records import Answer, Record, normalised, shown
from alignpro.data.texts import blank
from alignpro.types import Prompt

EMPTY_ANSWER = "empty answer"
IDENTICAL = "identical answers"
REPEATED = "repeated"
TIE = "tied scores"
LOWER = "chosen scores lower"
NO_SCORE = "no score"
REPEATED_ANSWER = "repeated answer, its scores averaged"
ALONE = "only answer to its prompt"


@dataclass(frozen=True, slots=True)
class Preference:
    """One comparison; `margin` is how much higher `chosen` scores, None where the source gives no scores.

    The prompt has no row.
    """

    prompt: Prompt
    chosen: str
    rejected: str
    margin: float | None


@dataclass(frozen=True, slots=True)
class Preferences:
    """Comparisons for training and, of other prompts, for testing; `dropped` counts what was left out by reason.

    `notes` are lines for the user.
    """

    train: tuple[Preference, ...]
    test: tuple[Preference, ...]
    dropped: Counter[str]
    notes: tuple[str, ...] = field(default=(), compare=False)


def compare(records: Iterable[Record], keep_not_higher: bool = False) -> tuple[list[Preference], Counter[str]]:
    """Every usable pair in the order of the records, and the number left out for each reason.

    Rows that hold a pair make one, in the source's direction. Rows that hold one answer make a pair of every two
    different answers to the same prompt, the higher score preferred; an answer that comes twice has the mean of its
    scores. Pairs and reasons together account for each row of two answers once, and for rows of one answer: each
    pair once, and each row that adds no answer to compare.

    `keep_not_higher` keeps a source's pairs whose chosen answer scores no higher, with a margin of 0 or less; ties
    between rows of one answer have no direction and go all the same.
    """
    kept: list[Preference] = []
    dropped: Counter[str] = Counter()
    seen: set[tuple[object, frozenset[str]]] = set()
    rated: dict[object, list[Record]] = {}
    for record in records:
        asked = shown(record.prompt)
        if any(blank(answer.text) for answer in record.answers):
            dropped[EMPTY_ANSWER] += 1
        elif len(record.answers) == 1:
            rated.setdefault(asked, []).append(record)
        else:
            chosen, rejected = record.answers
            key = (asked, frozenset({normalised(chosen.text), normalised(rejected.text)}))
            reason = REPEATED if key in seen else _why_not(chosen, rejected, keep_not_higher)
            seen.add(key)
            if reason:
                dropped[reason] += 1
            else:
                kept.append(_preference(record, chosen, rejected))
    for same_prompt in rated.values():
        pairs, left_out = _compare_rated(same_prompt)
        kept += pairs
        dropped += left_out
    return kept, dropped


def _why_not(chosen: Answer, rejected: Answer, keep_not_higher: bool) -> str | None:
    if normalised(chosen.text) == normalised(rejected.text):
        return IDENTICAL
    if chosen.score is None or rejected.score is None or keep_not_higher or chosen.score > rejected.score:
        return None
    return TIE if chosen.score == rejected.score else LOWER


def _compare_rated(records: list[Record]) -> tuple[list[Preference], Counter[str]]:
    """All pairs of the different answers to one prompt."""
    dropped: Counter[str] = Counter()
    scores: dict[str, list[float]] = {}
    texts: dict[str, str] = {}
    for answer in (record.answers[0] for record in records):
        if answer.score is None:
            dropped[NO_SCORE] += 1
            continue
        text = texts.setdefault(normalised(answer.text), answer.text)
        dropped[REPEATED_ANSWER] += text in scores
        scores.setdefault(text, []).append(answer.score)
    answers = [Answer(text, sum(given) / len(given)) for text, given in scores.items()]
    dropped[ALONE] += len(answers) == 1
    pairs = []
    for pair in combinations(answers, 2):
        rejected, chosen = sorted(pair, key=lambda answer: answer.score or 0.0)
        if chosen.score == rejected.score:
            dropped[TIE] += 1
        else:
            pairs.append(_preference(records[0], chosen, rejected))
    return pairs, +dropped


def _preference(record: Record, chosen: Answer, rejected: Answer) -> Preference:
    margin = None if chosen.score is None or rejected.score is None else chosen.score - rejected.score
    return Preference(record.prompt, chosen.text, rejected.text, margin)
