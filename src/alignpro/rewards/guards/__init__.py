"""Guards: whether a rewrite may be sent in its prompt's place. Training prices what they reject, evaluation counts it,
and serving sends the prompt itself instead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from alignpro.config import GuardSettings
from alignpro.maths import lengths
from alignpro.models.marks import marks_in
from alignpro.rewards.guards.answers import answered
from alignpro.rewards.guards.languages import lost_negation, other_language
from alignpro.rewards.spans import lost
from alignpro.types import Prompt

Check = Callable[[Prompt, str], str | None]
"""(x, x') -> what is wrong, None where nothing is."""
FEWEST = 8
"""Longer words that a prompt has before a rewrite is asked to keep a share of them."""
SHORT = 20
"""Words of a prompt up to which no rewrite is too short for it."""
PHRASE = 8
"""Words in a row of the meta-prompt that a rewrite may not repeat, and of the prompt that it may not say twice."""
_PLACE = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Guards:
    """The guards of the settings. Called with a prompt and its rewrite they give the name of the first that rejects it,
    or None; `rejecting` gives all, and why in words, which may quote the prompt.

    `template` is the prompter's, whose words a rewrite may not repeat. No model is asked.
    """

    settings: GuardSettings = field(default_factory=GuardSettings)
    template: str = ""

    def __call__(self, prompt: str | Prompt, rewrite: str) -> str | None:
        return next((name for name, _ in self._reasons(Prompt.of(prompt), rewrite)), None)

    def rejecting(self, prompt: str | Prompt, rewrite: str) -> dict[str, str]:
        """Every guard that rejects the rewrite, and why."""
        return dict(self._reasons(Prompt.of(prompt), rewrite))

    def _reasons(self, x: Prompt, rewrite: str) -> Iterator[tuple[str, str]]:
        return ((name, why) for name, check in self._checks.items() if (why := check(x, rewrite)) is not None)

    @cached_property
    def _checks(self) -> dict[str, Check]:
        """The checks that are on, by name, the cheapest first."""
        on = self.settings
        checks: dict[str, Check] = {
            "length": self._length,
            "frame": self._frame,
            "numbers": lambda x, rewrite: _lost("numbers", x, rewrite),
            "urls": lambda x, rewrite: _lost("urls", x, rewrite),
            "code": lambda x, rewrite: _lost("code", x, rewrite),
            "quotes": lambda x, rewrite: _lost("quotes", x, rewrite),
            "placeholders": lambda x, rewrite: _lost("placeholders", x, rewrite),
            "words": self._words,
            "repeats": _repeated,
            "negations": lambda x, rewrite: _because("lacks", lost_negation(x.text, rewrite)),
            "answer": lambda x, rewrite: _because("says", answered(x.text, rewrite, x.row, on.answer_column)),
            "language": lambda x, rewrite: _because("changes from", other_language(x.text, rewrite)),
        }
        return {name: check for name, check in checks.items() if name in on.names}

    def _length(self, x: Prompt, rewrite: str) -> str | None:
        on, ours, theirs = self.settings, lengths.words(x.text), lengths.words(rewrite)
        if on.longest is not None and theirs > on.longest * ours + on.spare_words:
            return f"{theirs} words for {ours}"
        if on.shortest is not None and ours > SHORT and theirs < on.shortest * ours:
            return f"{theirs} words for {ours}"
        return "no words" if ours and not theirs else None

    def _words(self, x: Prompt, rewrite: str) -> str | None:
        gone, count = lost("words", x.text, rewrite)
        least = self.settings.words or 0.0
        if count < FEWEST or count - len(gone) >= least * count:
            return None
        return f"keeps {count - len(gone)} of {count}"

    def _frame(self, x: Prompt, rewrite: str) -> str | None:
        """Marks and turns of a frame that the rewrite spells and the prompt does not, and words of the meta-prompt."""
        if spelt := marks_in(rewrite) - marks_in(x.text):
            return f"holds {min(spelt)}"
        if repeated := self._phrases & _phrases(rewrite) - _phrases(x.text):
            return f"repeats the meta-prompt: {min(repeated)}"
        if rewrite != x.text and self._ending and self._ending in f"\n{_plain_lines(x.text)}":
            return f"the prompt spells {self._ending.strip()}, by which the meta-prompt ends it"
        return None

    @cached_property
    def _phrases(self) -> set[str]:
        return set[str]().union(*map(_phrases, _PLACE.split(self.template)))

    @cached_property
    def _ending(self) -> str:
        """The line behind a prompt that stands without a fence, which the prompt could spell itself."""
        _, place, behind = self.template.rpartition("{prompt}")
        line = next((line for line in _plain_lines(behind).split("\n") if line.strip()), "") if place else ""
        return f"\n{line}" if line else ""


def _lost(kind: str, x: Prompt, rewrite: str) -> str | None:
    gone, _ = lost(kind, x.text, rewrite)
    return f"lacks {min(gone, key=lambda span: (len(span), span))[:60]}" if gone else None


def _repeated(x: Prompt, rewrite: str) -> str | None:
    """What stands in a row in the prompt and more often in the rewrite: an order in it, say, put where it is obeyed. A
    prompt that is said again as a whole is none."""
    runs, said = _runs(x.text), _runs(rewrite)
    more = [run for run, count in runs.items() if said[run] > count]
    return f"says again: {' '.join(more[0])}" if 0 < len(more) < len(runs) else None


def _runs(text: str) -> Counter[tuple[str, ...]]:
    """All that stands in a row of PHRASE words, by Unicode's rules for words, and how often."""
    said = lengths.words_of(text.casefold())
    return Counter(zip(*(said[at:] for at in range(PHRASE)), strict=False))


def _because(verb: str, what: str | None) -> str | None:
    return None if what is None else f"{verb} {what}"


def _phrases(text: str) -> set[str]:
    """All that stands in a row of PHRASE words."""
    said = text.casefold().split()
    return {" ".join(said[at : at + PHRASE]) for at in range(len(said) - PHRASE + 1)}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _plain_lines(text: str) -> str:
    return "\n".join(_plain(line) for line in text.splitlines())
