"""Judges: which of two responses to a prompt is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignpro.types import Reward, Verdict


@dataclass(frozen=True)
class RewardJudge:
    """Prefers the response with the higher reward; within `tie_margin` it is a tie, without a score no verdict."""

    reward: Reward
    tie_margin: float = 0.0

    @property
    def name(self) -> str:
        return self.reward.name

    def compare(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> list[Verdict | None]:
        """A verdict for each (prompt, a, b)."""
        scores_a, scores_b = self.reward.score(prompts, a), self.reward.score(prompts, b)
        verdicts: list[Verdict | None] = []
        for margin in (scores_a.values - scores_b.values).tolist():
            if margin != margin:
                verdicts.append(None)
            elif abs(margin) <= self.tie_margin:
                verdicts.append("tie")
            else:
                verdicts.append("a" if margin > 0 else "b")
        return verdicts
