"""`verify:exact` and `verify:contains`: the answer is the gold text, or has it in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from alignpro.rewards.verify.meant import Mention, asserted, taken_back
from alignpro.rewards.verify.normal import normal, plain
from alignpro.rewards.verify.verifier import Verifier, texts
from alignpro.rewards.verify.words import joined, word_edges

_HEDGE = re.compile(r"\b(?:or|either|oder|ou|или)\b|または|或|/\n|\n/", re.IGNORECASE)

_IS_NOT = re.compile(r"\W*(?:is|was|are|were)(?:\s+not\b|n't)", re.IGNORECASE)


def exact(column: str = "answer", case: bool = False) -> Verifier[list[str]]:
    """1 where the whole answer is the gold text, or one of a list, both as `normal` makes them; `case`: case counts."""
    return Verifier(
        name="verify:exact",
        columns=(column,),
        gold=lambda row: [normal(text, case) for text in texts(row, column)],
        worth=lambda golds, answer: normal(answer, case) in golds,
    )


def contains(column: str = "answer", case: bool = False, every: bool = False) -> Verifier[list[str]]:
    """1 where the gold text, or one of a list, stands in the answer as whole words, asserted and alone.

    That is: not denied, asked, told of others, taken back, or set beside another by "or". `every`: all of a list.
    `case`: case counts.
    """

    def gold(row: Mapping[str, Any]) -> list[str]:
        golds = [normal(text, case) for text in texts(row, column)]
        for text in golds:
            if joined(text):
                word_edges(text)  # so that a package that is missing is told before any work
        return golds

    def worth(golds: list[str], answer: str) -> float:
        text = plain(answer)
        text = re.sub(r"[*`]+|~~.*?~~|(?<!\w)_+|_+(?!\w)", "", text if case else text.casefold())
        said = (_says(text, wanted) for wanted in golds)
        return float(all(said) if every else any(said))

    return Verifier("verify:contains", (column,), gold, worth)


def occurrences(text: str, wanted: str) -> Iterator[tuple[int, int]]:
    """Where a text stands in another as whole words, runs of white space being one; by the words of a dictionary in
    scripts that put no space between them."""
    pattern = r"\s+".join(map(re.escape, wanted.split()))
    edges = word_edges(text) if joined(wanted) else None
    for found in re.finditer(pattern, text):
        before, after = text[: found.start()][-2:], text[found.end() :][:2]
        if edges is not None:
            whole = found.start() in edges and found.end() in edges
        else:
            whole = not (
                re.search(r"[\w$€£+#&%]$|\w[-'.]$|\d,$|[-+.]$" if wanted[0].isdigit() else r"\w$|\w[-'&]$", before)
                or re.match(r"\w|[-&]\w|'(?!s\b)\w|[+#]|\.\w|[\u0300-\u036f\u0900-\u0dff]", after)
                or (wanted[-1].isdigit() and re.match(r"[,:/]\d|\s?%|\^", after))
            )
        if whole:
            yield found.span()


def _says(text: str, wanted: str) -> bool:
    mentions = [Mention(start, end, wanted) for start, end in occurrences(text, wanted)]
    for sentence in asserted(text, mentions):
        for mention in sentence.mentions:
            around = text[sentence.start : mention.start] + "\n" + text[mention.end : sentence.end]
            denied = _HEDGE.search(around) or _IS_NOT.match(text, mention.end)
            if not denied and not taken_back(text, mention.end, sentence.end):
                return True
    return False
