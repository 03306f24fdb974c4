"""The units in which learners see rewards: the reference's mean is 0, its deviation 1.

The objective (9) loses nothing by it: R - lam KL and (R - mean) / deviation - (lam / deviation) KL have the same
optimum. What has a size of its own then sees the same numbers whatever the reward's units: the value head and its clip,
the clip of gradients, Adam's and whitening's epsilons; and no discount makes a constant a reward for length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alignpro.errors import RewardFailure
from alignpro.maths.rounding import DOUBLE
from alignpro.types import FloatArray

ENOUGH = 32
"""Rewards after which the units stay as they are; a step of fewer leaves them to be made out better by the next."""


@dataclass(frozen=True, slots=True)
class Units:
    """Mean and deviation, over the actions of the reference, of what the objective has of each before KL.

    `count` actions were seen. While all their rewards are equal up to rounding, `deviation` is 0 and there is
    nothing to learn from.
    """

    count: int = 0
    mean: float = 0.0
    deviation: float = 0.0

    @property
    def known(self) -> bool:
        """Whether rewards that differ were seen."""
        return self.deviation > 0

    def after(self, worth: FloatArray) -> Units:
        """With N more rewards [N], all finite; as they are once ENOUGH were seen and some differ.

        The first steps of a training take them from the policy, which is the reference before its first update. Raises
        RewardFailure for rewards that float64 cannot sum.
        """
        if not len(worth) or (self.known and self.count >= ENOUGH):
            return self
        count = self.count + len(worth)
        with np.errstate(over="ignore", invalid="ignore"):
            away = worth - worth[0]  # of equal rewards 0, whatever their sum is rounded to
            size = float(np.abs(away).max()) or 1.0
            own, mean = size * float((away / size).std()), float(worth[0] + away.mean())
            move = (mean - self.mean) if self.count else 0.0
            mean -= move * self.count / count
        mixed = move * math.sqrt(self.count * len(worth)) / count
        deviation = math.hypot(
            self.deviation * math.sqrt(self.count / count), own * math.sqrt(len(worth) / count), mixed
        )
        if not (math.isfinite(mean) and math.isfinite(deviation)):
            raise RewardFailure(
                f"rewards as large as {float(np.abs(worth).max()):.3g} have no mean in float64; scale the reward down"
            )
        return Units(count, mean, deviation if deviation > DOUBLE * abs(mean) else 0.0)

    def canonical(self, worth: FloatArray) -> FloatArray:
        """Rewards [N] as learners see them. Raises RewardFailure for one that float32 does not hold so."""
        values = np.asarray((worth - self.mean) / self.deviation)
        if not (np.abs(values) < np.finfo(np.float32).max).all():
            raise RewardFailure(
                f"a reward of {float(worth[np.abs(values).argmax()]):.3g} lies too many deviations of the reference's"
                f" rewards, each {self.deviation:.3g}, from their mean; give the reward bounds"
            )
        return values

    def told(self, canonical: float) -> float:
        """A canonical reward in the user's units."""
        return self.mean + self.deviation * canonical


PLAIN = Units(ENOUGH, 0.0, 1.0)
"""The user's own units."""
