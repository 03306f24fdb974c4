"""What one step's sampling gives to the update, whatever it was sampled from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alignpro.maths import stats
from alignpro.types import FloatArray, Generation


@dataclass(frozen=True, slots=True)
class Collected:
    """N actions, the prompt each belongs to [N], its reward [N] (nan where it failed), and what sampling took.

    `bonus` [N] is what terms on x' add to the reward in the objective. `columns` are figures of the step for its
    metrics, by name.

    `counts` [N] says how often each was drawn, once where it is None. `from_reference` holds where the reference drew
    them, so that their log-probabilities are the reference's.
    """

    actions: list[Generation]
    groups: npt.NDArray[np.int64]
    rewards: FloatArray
    failures: Counter[str]
    frozen_calls: int
    counts: npt.NDArray[np.int64] | None = None
    from_reference: bool = False
    bonus: FloatArray | float = 0.0
    columns: Mapping[str, float] = field(default_factory=dict)

    @property
    def worth(self) -> FloatArray:
        """What the objective has of each action before KL [N]; nan where the reward or a term on x' failed."""
        return np.asarray(self.rewards + self.bonus)


Collect = Callable[[Sequence[str], int], Collected]
"""(prompts, seed) -> Collected; samples the policy as it stands."""


def columns(parts: Mapping[str, FloatArray], prompt_terms: Mapping[str, FloatArray]) -> dict[str, float]:
    """Raw mean of every term of the reward, and of every term on x'; nan where all failed."""
    named = {f"reward.{name}": values for name, values in parts.items()}
    named |= {f"prompt_term.{name}": values for name, values in prompt_terms.items()}
    return {name: float(stats.mean(values.reshape(1, -1))) for name, values in named.items()}
