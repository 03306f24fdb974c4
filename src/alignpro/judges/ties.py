"""The rule for ties: who wins by two scores, by two orders of presenting, and what a tie is worth.

Two answers tie where their scores are within the tie margin or differ by rounding, and where the two orders of
presenting disagree. A tie counts half. Equal answers tie without a language model being asked. Nothing else in the
package decides a tie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from alignpro.maths.rounding import difference
from alignpro.types import Judgement, Verdict

POINTS = {"a": 1.0, "tie": 0.5, "b": 0.0}
"""What a comparison is worth to the first arm."""


def by_scores(
    scores: tuple[float, float], tie_margin: float, reason: str = "", failure: str | None = None
) -> Judgement:
    """The judgement that two scores make: the higher wins, within `tie_margin` a tie, none where one is missing."""
    if math.isnan(scores[0] - scores[1]):
        return Judgement(None, scores, reason, failure or "no score")
    a_over_b, b_over_a = difference(scores, [scores[1] + tie_margin, scores[0] + tie_margin]) > 0
    return Judgement("a" if a_over_b else "b" if b_over_a else "tie", scores, reason)


def by_orders(orders: Sequence[Judgement]) -> Verdict | None:
    """What both orders of presenting say; a tie where they disagree; None where either has no verdict."""
    verdicts = {judgement.verdict for judgement in orders}
    if None in verdicts:
        return None
    return verdicts.pop() if len(verdicts) == 1 else "tie"


def equal_answers() -> Judgement:
    """The tie of an answer with itself, which no language model is asked about."""
    return Judgement("tie", reason="the answers are equal")
