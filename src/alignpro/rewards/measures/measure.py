"""What a measure of text is: a figure that an answer has by itself, whatever was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alignpro.runtime import processes
from alignpro.types import Prompt, Response, RewardResult, as_responses


@dataclass(frozen=True)
class TextMeasure:
    """r(x, y) by y alone: `of` an answer gives a figure within `bounds`, or says in words why there is none."""

    name: str
    of: Callable[[Response], float | str]
    bounds: tuple[float, float]

    def score(self, prompts: Sequence[str | Prompt], responses: Sequence[str | Response]) -> RewardResult:
        """One figure an answer."""
        read = processes.spread(as_responses(responses), lambda mine: [self.of(y) for y in mine])
        values = np.array([np.nan if isinstance(one, str) else one for one in read], dtype=np.float64)
        return RewardResult(values, tuple(one if isinstance(one, str) else None for one in read))
