"""A reward as judge: which of two responses to a prompt is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignpro.types import Judgement, Reward


@dataclass(frozen=True)
class RewardJudge:
    """Prefers the response with the higher reward; within `tie_margin` it is a tie, without a score no verdict."""

    reward: Reward
    tie_margin: float = 0.0
    symmetric = True

    @property
    def name(self) -> str:
        return self.reward.name

    def compare(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> list[Judgement]:
        """One judgement for each (prompt, a, b); its scores are the rewards."""
        first, second = self.reward.score(prompts, a), self.reward.score(prompts, b)
        scores = zip(first.values.tolist(), second.values.tolist(), strict=True)
        reasons = (one or other for one, other in zip(first.reasons, second.reasons, strict=True))
        return [judged(pair, self.tie_margin, failure=why) for pair, why in zip(scores, reasons, strict=True)]


def judged(scores: tuple[float, float], tie_margin: float, reason: str = "", failure: str | None = None) -> Judgement:
    """The judgement that two scores make: the higher wins, within `tie_margin` a tie, none where one is missing."""
    margin = scores[0] - scores[1]
    if margin != margin:
        return Judgement(None, scores, reason, failure or "no score")
    if abs(margin) <= tie_margin:
        return Judgement("tie", scores, reason)
    return Judgement("a" if margin > 0 else "b", scores, reason)
