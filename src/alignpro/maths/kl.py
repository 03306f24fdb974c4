"""KL divergences from samples, and the coefficient that prices them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from alignpro.types import FloatArray


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log p - log q for actions drawn from p: unbiased for KL(p || q), of either sign. Any shape, nats. (E4)"""
    return logprobs - ref_logprobs


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(q/p - 1) - log(q/p) for actions drawn from p: unbiased for KL(p || q), never negative. Any shape, nats. (E4)"""
    log_ratio = ref_logprobs - logprobs
    return log_ratio.expm1() - log_ratio


def k3_from_ratio(log_ratio: FloatArray) -> FloatArray:
    """k3 of whole actions from log p - log q, for actions drawn from p. Any shape, nats. (E4)"""
    with np.errstate(over="ignore"):
        return np.asarray(np.expm1(-log_ratio) + log_ratio)


@dataclass(frozen=True, slots=True)
class KlCoefficient:
    """The price of KL, lambda of (9): fixed, or steered towards a target.

    The adaptive rule multiplies by 1 + clip(kl / target - 1, -0.2, 0.2) * samples / horizon after every step, as in
    Ziegler et al. 2019 and TRL's former PPO trainer.
    """

    value: float
    adaptive: bool = False
    target: float = 6.0
    horizon: int = 10_000

    def after(self, kl: float, samples: int) -> KlCoefficient:
        """The coefficient for the next step, given this step's mean KL a sample in nats."""
        if not self.adaptive:
            return self
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return replace(self, value=self.value * (1 + error * samples / self.horizon))
