"""RLOO and GRPO: a rewrite's advantage is what it does better than the other rewrites of its prompt; no value head.

They differ in one function of `alignpro.maths.advantages`. Every token of a row carries the row's advantage, in which
the KL of (9) is priced by k1 over the whole row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from alignpro.config import GroupSettings
from alignpro.maths import advantages as adv
from alignpro.maths.kl import k1
from alignpro.models.logprobs import forward
from alignpro.train.pieces import Pieces
from alignpro.train.step_size import StepSize
from alignpro.train.update import Experience, Learner, adam, surrogate, sweep

Advantage = Callable[[Tensor, Tensor, Tensor, float], Tensor]
"""(rewards [N], kl [N] in nats, groups [N], kl_coef) -> advantages [N]."""


class GroupLearner(Learner):
    """The policy's optimiser, and how a row's advantage comes from its group."""

    def __init__(self, policy: Any, settings: GroupSettings, advantage: Advantage, tokens: int | None = None) -> None:
        self.policy, self.settings, self.advantage = policy, settings, advantage
        self.pieces = Pieces(policy, tokens)
        self.powers = {} if settings.divide_by_deviation else {"policy_loss": 1, "advantage_std": 1}
        self.step_size = StepSize(policy, settings)
        self.optimizer = adam(policy, self.step_size)

    def update(self, experience: Experience, *, kl_coef: float, temperature: float, seed: int) -> dict[str, float]:
        """Several epochs of clipped-surrogate steps on one batch of experience."""
        batch, mask = experience.actions, experience.actions.action_mask
        kl = (k1(experience.logprobs, experience.ref_logprobs) * mask).sum(1)
        advantages = self.advantage(experience.rewards, kl, experience.groups, kl_coef)

        def loss(piece: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            part = batch.rows(piece)
            logprobs, _ = forward(self.policy, part, temperature)
            old = experience.logprobs[piece, : part.action.shape[1]]
            per_token = advantages[piece].unsqueeze(1).expand_as(logprobs)
            return surrogate(logprobs, old, per_token, part.action_mask, self.settings.clip_coef)

        metrics = sweep(self, experience, self.settings, loss, seed)
        return metrics | {"advantage_std": float(advantages.std(correction=0))}


def rloo(policy: Any, settings: GroupSettings, tokens: int | None = None) -> GroupLearner:
    """REINFORCE leave-one-out (Ahmadian et al. 2024)."""
    return GroupLearner(policy, settings, adv.leave_one_out, tokens)


def grpo(policy: Any, settings: GroupSettings, tokens: int | None = None) -> GroupLearner:
    """GRPO (Shao et al. 2024), without its division by the group's deviation unless the settings ask for it."""
    advantage = partial(adv.group_relative, divide=settings.divide_by_deviation)
    return GroupLearner(policy, settings, advantage, tokens)
