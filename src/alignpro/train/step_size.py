"""The size of a policy's steps: as the settings give it, or steered so that every step moves the policy by `step_kl`.

No learning rate suits every policy: what moves a model of 135M weights by a hundredth of a nat leaves a tiny one where
it is, and an adapter takes ten times what all weights take. How far a step carried the policy is what can be said
beforehand, and what the samples of the step measure.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from alignpro.config import UpdateSettings
from alignpro.maths import losses
from alignpro.models.lora import is_adapted

TOO_FAR = 1.5
"""Times `step_kl` from which a step makes no further update on its samples."""
START = 0.05
"""Share of the usual rate that steering begins with: too slow costs a step, too fast may cost the policy."""
SWIFTNESS = 3.0
"""Factor by which one step may change the rate at most."""
SLOWEST, FASTEST = 0.01, 1.0
"""Bounds of a steered rate, in multiples of the usual one: samples of equal reward move nothing at any rate."""
HEADWAY = 2.0
"""How far the rate may rise above one that was seen to move the policy by what is wanted, as a factor. A policy that is
sure of its actions has small gradients and moves little; a rate that rose for that would throw it far off at the first
large one."""


def usual_rate(model: Any) -> float:
    """Adam's learning rate that language models of this width take: 5e-5 (2000 / hidden size)^0.8, and ten times that
    for an adapter (Schulman et al. 2025, "LoRA without regret")."""
    rate = 5e-5 * math.pow(2000 / model.config.get_text_config().hidden_size, 0.8)
    return rate * 10 if is_adapted(model) else rate


def moved(logprobs: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """How far the policy has moved from the one that sampled [N, T], in nats summed over tokens.

    Half the squared change of a token's log-probability, which is its KL to second order. Changes past 1 nat count as
    1, since a single token that became impossible would else outweigh a batch.
    """
    return losses.masked_sum(0.5 * (logprobs - old).clamp(-1, 1) ** 2, mask)


class StepSize:
    """The learning rate of a policy's optimiser, step by step.

    With `settings.learning_rate` it is that. Without it starts at START of `usual_rate`, and after each step is
    multiplied by the fourth root of what `step_kl` is of the KL that the step made, since a step's KL is noisy and
    grows with the rate squared; after the first, which was small on purpose, by the whole square root. A schedule's
    share s of the rate asks for s^2 of `step_kl`. From the first step that went as far as was wanted, `most` is HEADWAY
    times the highest rate that would have gone just so far, and the rate stays below.
    """

    def __init__(self, model: Any, settings: UpdateSettings) -> None:
        usual = usual_rate(model)
        self.steered = settings.learning_rate is None
        self._start = usual * START
        self.rate = self._start if settings.learning_rate is None else settings.learning_rate
        self._bounds = (usual * SLOWEST, usual * FASTEST)
        self.most: float | None = None
        self._step_kl, self._share = settings.step_kl, 1.0

    def begin(self, optimizer: torch.optim.Optimizer, share: float) -> float:
        """Set the rate of a step that takes `share` of it; parameter groups with a rate of their own take `share` of
        that. The rate."""
        self._share = share
        for group in optimizer.param_groups:
            group["lr"] = share * (self.rate if group["own_rate"] is None else group["own_rate"])
        return self.rate * share

    def is_too_far(self, kl: float) -> bool:
        """Whether a step that has moved the policy by `kl` nats a sample should go no further."""
        return self.steered and kl > TOO_FAR * self._wanted

    def after(self, kl: float) -> None:
        """Steer by the step just made, which moved the policy by `kl` nats a sample."""
        if self.steered and math.isfinite(kl):
            ratio = math.sqrt(self._wanted / max(kl, 1e-12))
            if kl >= self._wanted:
                self.most = max(self.most or 0.0, HEADWAY * ratio * self.rate)
            factor, swiftest = (ratio, 1 / START) if self.rate == self._start else (math.sqrt(ratio), SWIFTNESS)
            least, fastest = self._bounds
            rate = self.rate * min(max(factor, 1 / swiftest), swiftest)
            self.rate = max(min(rate, fastest, self.most or fastest), least)

    @property
    def _wanted(self) -> float:
        return self._step_kl * self._share * self._share
