"""Which judged comparisons the page shows: those at fixed places in the order of the judge's margin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignpro.evaluate.arms import AlignPro
from alignpro.results import Judged, Sample, words

PLACES = {
    "Highest margin": 1.0,
    "Upper quartile": 0.75,
    "Median": 0.5,
    "Lower quartile": 0.25,
    "Lowest margin": 0.0,
}
"""Title -> quantile of the judge's margin."""
LONGEST = 1500
"""Characters of one text before the page cuts it."""
Answers = dict[tuple[str, str], list[Sample]]
"""By arm and prompt."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison on the page: which place it holds, and the answers compared."""

    place: str
    judged: Judged
    a: Sample
    b: Sample

    def scored(self, place: int) -> str:
        """In words, what the judge gave the first (`place` 0) or the second answer; empty where a score is missing."""
        scores = [order.scores[place] for order in self.judged.orders]
        if not math.isfinite(sum(scores)):
            return ""
        said = [words.number(score, 0 if score == round(score) else None) for score in scores]
        if len(said) != 2:
            return f"score {said[0]}"
        first, second = said if place == 0 else said[::-1]
        return f"score {first} when presented first, {second} when second"


@dataclass(frozen=True, slots=True)
class JudgedExamples:
    """Comparisons by the judge that came last, and in words how they were come by."""

    rule: str
    shown: tuple[Shown, ...]
    longest: int = LONGEST


def judged_examples(rows: Iterable[Judged], samples: Sequence[Sample], baseline: str) -> JudgedExamples | None:
    """Comparisons of the trained prompter, or else of the first arm judged, with `baseline`; None where there are none.

    Ordered by margin (equal ones by prompt and sample), they are those at fixed quantiles, and the middle one of the
    ties where none of those is one.
    """
    found = [row for row in rows if row.verdict in ("a", "tie", "b") and row.sample >= 0 and math.isfinite(row.margin)]
    pairs = {(judged.a, judged.b) for judged in found}
    pair = next((p for p in ((AlignPro.written, baseline), *sorted(pairs)) if p in pairs and baseline in p), None)
    if pair is None:
        return None
    answers: Answers = {}
    for sample in samples:
        answers.setdefault((sample.arm, str(sample.prompt_id)), []).append(sample)
    compared = [judged for judged in found if (judged.a, judged.b) == pair]
    judge = compared[-1].judge
    compared = [judged for judged in compared if judged.judge == judge and _has_answers(judged, answers)]
    if not compared:
        return None
    ordered = sorted(compared, key=lambda judged: judged.margin)  # a stable sort: equal ones stay as in the file
    chosen: dict[int, str] = {}
    for place, quantile in PLACES.items():
        chosen.setdefault(int(quantile * (len(ordered) - 1) + 0.5), place)
    ties = [i for i, judged in enumerate(ordered) if judged.verdict == "tie"]
    if ties and not any(i in chosen for i in ties):
        chosen[ties[len(ties) // 2]] = "A tie"
    shown = tuple(
        Shown(place, ordered[i], *(_answers(answers, ordered[i], arm)[int(ordered[i].sample)] for arm in pair))
        for i, place in chosen.items()
    )
    return JudgedExamples(_rule(judge, compared, shown), shown)


def _rule(judge: str, compared: Sequence[Judged], shown: Sequence[Shown]) -> str:
    outcomes = [judged.verdict for judged in compared]
    won, tied, lost = (outcomes.count(verdict) for verdict in ("a", "tie", "b"))
    rule = (
        f"{judge} compared {len(compared)} pairs of answers: {won} won, {tied} tied, {lost} lost. Ordered by its"
        " margin, the score of the first answer less that of the second, these stand at the top, the quartiles and the"
        " bottom, with the middle one of the ties where none of those is one. The rule chose them, not a person."
    )
    texts = (text for one in shown for s in (one.a, one.b) for text in (s.prompt, s.rewrite, s.response))
    if any(len(text) > LONGEST for text in texts):
        rule += f" Texts are cut after {LONGEST:,} characters; samples.jsonl holds them whole."
    return rule


def _has_answers(judged: Judged, answers: Answers) -> bool:
    return all(judged.sample < len(_answers(answers, judged, arm)) for arm in (judged.a, judged.b))


def _answers(answers: Answers, judged: Judged, arm: str) -> Sequence[Sample]:
    return answers.get((arm, str(judged.prompt_id)), ())
