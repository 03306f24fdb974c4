"""A reward as judge: which of two responses to a prompt is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alignpro.judges import ties
from alignpro.types import Judgement, Prompt, ReadsRows, Response, Reward, as_prompts, as_responses


@dataclass(frozen=True)
class RewardJudge:
    """Prefers the response with the higher reward; within `tie_margin`, or of equal texts, it is a tie, without
    a score no verdict."""

    reward: Reward
    tie_margin: float = 0.0
    symmetric = True

    @property
    def name(self) -> str:
        return self.reward.name

    def check(self, prompts: Sequence[Prompt]) -> Sequence[str]:
        """What the reward will lack in the prompts. Raises as it does."""
        return self.reward.check(prompts) if isinstance(self.reward, ReadsRows) else ()

    def compare(
        self, prompts: Sequence[str | Prompt], a: Sequence[str | Response], b: Sequence[str | Response]
    ) -> list[Judgement]:
        """One judgement for each (prompt, a, b); its scores are the rewards."""
        xs, sides = as_prompts(prompts), (as_responses(a), as_responses(b))
        rewards_a, rewards_b = (self.reward.score(xs, ys) for ys in sides)
        scores = zip(rewards_a.values.tolist(), rewards_b.values.tolist(), strict=True)
        reasons = (of_a or of_b for of_a, of_b in zip(rewards_a.reasons, rewards_b.reasons, strict=True))
        judged = [ties.by_scores(pair, self.tie_margin, failure=why) for pair, why in zip(scores, reasons, strict=True)]
        return [
            replace(j, verdict="tie") if j.verdict and ya.text == yb.text else j
            for j, ya, yb in zip(judged, *sides, strict=True)
        ]
