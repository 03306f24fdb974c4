"""Proximal policy optimisation of a language model's actions: one for the prompter's x' and for the oracle's y.

The update sees action tokens, their log-probabilities as sampled, the reference's, and one reward a row. The KL of (9)
is in the reward, token by token, by the k1 estimator; nothing about where the reward came from is known here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignpro.config import PpoSettings
from alignpro.maths import advantages as adv
from alignpro.maths import losses
from alignpro.maths.kl import k1
from alignpro.models.loading import making
from alignpro.models.logprobs import Actions, forward, hidden_states
from alignpro.models.sharding import gathered
from alignpro.runtime import processes
from alignpro.train.pieces import Pieces
from alignpro.train.step_size import StepSize
from alignpro.train.update import Experience, Learner, adam, surrogate, sweep


class ValueHead(nn.Module):
    """V(s_t) [N, T] from the last hidden state [N, T, H] before each action token; starts at 0.

    It reads the state normalised and over H, so that one learning rate moves values alike whatever the model's width.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        with making:
            self.linear = nn.Linear(hidden_size, 1)
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        state = nn.functional.layer_norm(hidden.float(), hidden.shape[-1:]) / hidden.shape[-1]
        return torch.as_tensor(self.linear(state)).squeeze(-1)


class Ppo(Learner):
    """The policy's optimiser and its value head."""

    def __init__(self, policy: Any, settings: PpoSettings, tokens: int | None = None) -> None:
        self.policy, self.settings, self.pieces = policy, settings, Pieces(policy, tokens)
        self.powers = {"value_loss": 2} if settings.whiten_advantages else {"policy_loss": 1, "value_loss": 2}
        self.value_head = ValueHead(policy.config.get_text_config().hidden_size).to(policy.device)
        self.step_size = StepSize(policy, settings)
        head = {"params": list(self.value_head.parameters()), "own_rate": settings.value_learning_rate}
        self.optimizer = adam(policy, self.step_size, head)

    def update(self, experience: Experience, *, kl_coef: float, temperature: float, seed: int) -> dict[str, float]:
        """Several epochs of clipped-surrogate steps on one batch of experience."""
        settings, batch = self.settings, experience.actions
        mask = batch.action_mask
        old_values = self._values(batch)
        kl = k1(experience.logprobs, experience.ref_logprobs)
        rewards = adv.token_rewards(experience.rewards, kl, mask, kl_coef)
        advantages, returns = adv.gae(rewards, old_values, mask, settings.gamma, settings.gae_lambda)
        explained = adv.explained_variance(old_values, returns, mask)
        if settings.whiten_advantages:
            advantages = adv.whiten(advantages, mask)

        def loss(piece: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            part = batch.rows(piece)
            width, kept = part.action.shape[1], part.action_mask
            logprobs, hidden = forward(self.policy, part, temperature, hidden=True)
            assert hidden is not None
            old = experience.logprobs[piece, :width]
            policy_loss, figures = surrogate(logprobs, old, advantages[piece, :width], kept, settings.clip_coef)
            value_loss = losses.ppo_value(
                self.value_head(hidden),
                old_values[piece, :width],
                returns[piece, :width],
                kept,
                settings.value_clip,
            )
            return policy_loss + settings.value_coef * value_loss, figures | {"value_loss": value_loss.detach()}

        metrics = sweep(self, experience, settings, loss, seed)
        return metrics | {"explained_variance": explained}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"value_head": self.value_head.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.value_head.load_state_dict(state["value_head"])

    @torch.no_grad()
    def _values(self, batch: Actions) -> Tensor:
        """Values [N, T] before the update, in batches of like length, which processes share; 0 on padding."""
        values = torch.zeros_like(batch.action, dtype=torch.float32)
        order = (batch.query_mask.sum(1) + batch.action_mask.sum(1)).argsort()
        with gathered(self.policy):
            for rows in order[processes.share(len(order))].split(max(self.settings.minibatch_size, 64)):
                if not len(rows):
                    continue
                part = batch.rows(rows)
                predicted = self.value_head(hidden_states(self.policy, part))
                values[rows, : part.action.shape[1]] = predicted.masked_fill(~part.action_mask, 0.0)
        return processes.total(values)
