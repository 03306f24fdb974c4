"""How easy an answer is to read, by formulas over the lengths of its words and sentences; no model and no network."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import regex

from alignpro.maths import lengths
from alignpro.rewards.measures.measure import TextMeasure
from alignpro.rewards.verify.verifier import said
from alignpro.rewards.verify.words import sentences
from alignpro.types import Response

NO_WORDS, NOT_LATIN = "no words to read", "not written in Latin letters, which the formula is for"
LONG_WORD = 7
"""Letters from which LIX counts a word as long."""


class Counts(NamedTuple):
    """Of a text: words, sentences, letters, letters and figures, long words, and syllables where they are wanted."""

    words: int
    sentences: int
    letters: int
    signs: int
    long: int
    syllables: int


class Formula(NamedTuple):
    """A figure of counts, what it is taken for at the easiest and at the hardest, its unit, and whether it takes
    syllables."""

    figure: Callable[[Counts], float]
    easiest: float
    hardest: float
    unit: str
    syllables: bool = False


FORMULAS: dict[str, Formula] = {
    "flesch": Formula(
        lambda n: 206.835 - 1.015 * n.words / n.sentences - 84.6 * n.syllables / n.words, 100, 0, "points", True
    ),
    "flesch_kincaid": Formula(
        lambda n: 0.39 * n.words / n.sentences + 11.8 * n.syllables / n.words - 15.59, 0, 18, "school years", True
    ),
    "ari": Formula(lambda n: 4.71 * n.signs / n.words + 0.5 * n.words / n.sentences - 21.43, 0, 18, "school years"),
    "coleman_liau": Formula(
        lambda n: 5.88 * n.letters / n.words - 29.6 * n.sentences / n.words - 15.8, 0, 18, "school years"
    ),
    "lix": Formula(lambda n: n.words / n.sentences + 100 * n.long / n.words, 20, 60, "points"),
}
_MUTE = re.compile(
    r"""
    (?<=[^aeiouy]) (?<![^aeiouyl]l) (?: e | (?<![td])ed | (?<![scxzg])(?<!ch)(?<!sh)es ) $  # made, called, names
    | (?<=[^aeiouy]) (?<![^aeiouy]l) e (?= (?:l[ey]ss|ly|ty|fully?|ness|times?|thing|where|body|one)$ )  # likely
    | (?<=[^aeiouyl])e(?=ments?$) | (?<=r)e(?=fore$) | (?<=[qg]u)es?$ | (?<=bus)i(?=ness)  # statement, unique
    """,
    re.VERBOSE,
)
"""Groups of vowels that are not spoken."""
_APART = re.compile(
    r"""
    (?<![cgstx])i(?=a|u|o(?!u?n$|r)) | (?<=r)i(?=or) | (?<=[ct])i(?=ate|et)  # media, period, superior, society
    | (?<![cgst])i(?=en[ct]|et[iy]) | (?<=sc)i(?=en) | (?<![dg])i(?=e(?:r|st)s?$)  # client, science, easier
    | (?<=cr)e(?=at) | (?<=^r)e(?=ali|act) | (?<=[dr])e(?=as?$) | e(?=o(?![pu]))  # create, reality, idea, video
    | (?<![gq])u(?=al|at|ou|i[dn]) | [aeiouy](?=ing) | [ae]y(?=er)  # visual, fluid, being, player
    | (?<=[aeiouy])(?:s|th)ms?$ | (?<=[^aeiouyr])n't$  # tourism, didn't
    """,
    re.VERBOSE,
)
"""Vowels that begin a syllable within a group, and consonants that are one."""
_LETTER, _LATIN, _FIGURE = regex.compile(r"\p{L}"), regex.compile(r"\p{Latin}"), regex.compile(r"\p{N}")


def readability(
    formula: Literal["flesch", "flesch_kincaid", "ari", "coleman_liau", "lix"] = "flesch", raw: bool = False
) -> TextMeasure:
    """Ease of reading from 0 (hardest) to 1 (easiest); `raw`: the formula's own figure in its unit, within its range.

    `flesch` (Flesch 1948) and `flesch_kincaid` (Kincaid et al. 1975) count syllables, by spelling; `ari` (Senter and
    Smith 1967) and `coleman_liau` (1975) count letters. These four are fitted to English, `lix` (Björnsson 1968) is
    used for several languages in Latin letters. They see lengths, never meaning: short nonsense is easy. No figure for
    an answer without words, or most of whose letters are not Latin. Raises SettingsError where ICU is not installed.
    """
    chosen = FORMULAS[formula]
    sentences("")
    low, high = sorted((chosen.easiest, chosen.hardest))

    def of(response: Response) -> float | str:
        text = said(response.text)
        letters = len(_LETTER.findall(text))
        if 2 * len(_LATIN.findall(text)) < letters:
            return NOT_LATIN
        counts = counted(text, chosen.syllables)
        if not counts.words:
            return NO_WORDS
        figure = min(high, max(low, chosen.figure(counts)))
        return figure if raw else abs((figure - chosen.hardest) / (chosen.easiest - chosen.hardest))

    name = f"readability:{formula}"
    return TextMeasure(f"{name} ({chosen.unit})", of, (low, high)) if raw else TextMeasure(name, of, (0.0, 1.0))


def counted(text: str, syllables: bool = False) -> Counts:
    """The counts of a text. A line ends a sentence, so that headings and the items of a list are sentences."""
    words = lengths.words_of(text)
    letters = [len(_LETTER.findall(word)) for word in words]
    return Counts(
        words=len(words),
        sentences=max(1, len(sentences(text))),
        letters=sum(letters),
        signs=sum(letters) + sum(len(_FIGURE.findall(word)) for word in words),
        long=sum(count >= LONG_WORD for count in letters),
        syllables=sum(map(syllables_of, words)) if syllables else 0,
    )


@lru_cache(maxsize=100_000)
def syllables_of(word: str) -> int:
    """Syllables of an English word by its spelling: groups of vowels, less those that are mute, and more where vowels
    that stand together are spoken apart; at least 1, and 1 of a number."""
    plain = unicodedata.normalize("NFKD", word.casefold().replace("’", "'"))
    stem = "".join(sign for sign in plain if not unicodedata.combining(sign)).removesuffix("'s")
    groups = len(re.findall(r"[aeiouy]+", stem))
    return max(1, groups - len(_MUTE.findall(stem)) + len(_APART.findall(stem)))
