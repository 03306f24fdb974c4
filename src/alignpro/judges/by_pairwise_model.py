"""A pairwise model as judge: a classifier of (x, y1, y2) tells which answer is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignpro.judges import ties
from alignpro.rewards.layout import told_as_text
from alignpro.rewards.pairwise import PairwiseModel
from alignpro.types import Judgement, Prompt, Response, as_responses


@dataclass(frozen=True)
class PairwiseJudge:
    """Prefers the answer that the model gives log-odds above `tie_margin`; closer is a tie, no score no verdict."""

    model: PairwiseModel
    tie_margin: float = 0.0
    symmetric = False

    @property
    def name(self) -> str:
        return self.model.name

    def check(self, prompts: Sequence[Prompt]) -> list[str]:
        """Whether conversations lose their turns before it."""
        return told_as_text(self.name, prompts)

    def compare(
        self, prompts: Sequence[str | Prompt], a: Sequence[str | Response], b: Sequence[str | Response]
    ) -> list[Judgement]:
        """A judgement of each (prompt, a, b), as presented: which stands first can matter to the model. Its scores are
        half the log-odds and their negative."""
        odds = self.model.log_odds(prompts, [y.text for y in as_responses(a)], [y.text for y in as_responses(b)])
        halves = ((odds / 2, -odds / 2) for odds in odds.values.tolist())
        return [
            ties.by_scores(pair, self.tie_margin, failure=why) for pair, why in zip(halves, odds.reasons, strict=True)
        ]
