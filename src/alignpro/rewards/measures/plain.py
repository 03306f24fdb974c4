"""Measures that count: how much an answer repeats itself, how long it is, and whether it ended by itself.

They count signs and know no language. Words are those of Unicode's rules (`maths/lengths.py`), so that scripts without
spaces between words are counted by characters. What stands before a closing `</think>` is not of the answer.
"""

from __future__ import annotations

from alignpro.config.section import Positive
from alignpro.errors import SettingsError
from alignpro.maths import lengths
from alignpro.rewards.measures.measure import TextMeasure
from alignpro.rewards.verify.verifier import said
from alignpro.types import Response


def repetition(n: Positive = 3) -> TextMeasure:
    """Share of an answer's runs of `n` words that stand in it before, 0 (none) to 1; case does not matter.

    1 - different runs / runs, of all languages. 0 for an answer of fewer than `n` words; a list whose items
    begin alike repeats as much as a loop does.
    """

    def of(response: Response) -> float:
        words = [word.casefold() for word in lengths.words_of(said(response.text))]
        runs = list(zip(*(words[i:] for i in range(n)), strict=False))
        return 1 - len(set(runs)) / len(runs) if runs else 0.0

    return TextMeasure("repetition", of, (0.0, 1.0))


def ended() -> TextMeasure:
    """1 where the answer ended by itself, 0 where it was cut off at its greatest length: by its `finish`, not by its
    text, so that an answer which stops in the middle of a sentence has ended."""
    return TextMeasure("ended", lambda response: float(response.finish != "length"), (0.0, 1.0))


def words(least: Positive | None = None, most: Positive | None = None) -> TextMeasure:
    """How many words an answer has; or, with a wanted range, how near it is: 1 from `least` to `most`, and outside the
    smaller part of the larger (half as many words as wanted are 0.5, and so are twice as many).

    Raises SettingsError for an empty range.
    """
    if least is not None and most is not None and least > most:
        raise SettingsError(f"arguments: least {least} is more than most {most}")
    ranged = least is not None or most is not None

    def of(response: Response) -> float:
        count = lengths.words(said(response.text))
        if not ranged:
            return float(count)
        short = count / least if least is not None else 1.0
        long = most / count if most is not None and count else 1.0
        return min(1.0, short, long)

    return TextMeasure("words", of, (0.0, 1.0 if ranged else float("inf")))
