"""Proximal policy optimisation of a language model's actions: one for the prompter's x' and for the oracle's y.

The update sees action tokens, their log-probabilities as sampled, the reference's, and one reward a row. The KL of (9)
is in the reward, token by token, by the k1 estimator; nothing about where the reward came from is known here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alignpro.config import PpoSettings
from alignpro.maths import advantages as adv
from alignpro.maths import losses
from alignpro.maths.kl import k1, k3
from alignpro.models.logprobs import Actions, forward, hidden_states


class ValueHead(nn.Module):
    """V(s_t) [N, T] from the last hidden state [N, T, H] before each action token; starts at 0."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.as_tensor(self.linear(hidden.float())).squeeze(-1)


@dataclass(frozen=True, slots=True)
class Experience:
    """N rows of actions taken; logprobs and ref_logprobs [N, T] (0 on padding), rewards [N]."""

    actions: Actions
    logprobs: Tensor
    ref_logprobs: Tensor
    rewards: Tensor


def make_optimizer(policy: nn.Module, value_head: ValueHead, settings: PpoSettings) -> torch.optim.Optimizer:
    """Adam over policy and value head, each with its learning rate."""
    value_rate = settings.value_learning_rate or settings.learning_rate
    trained = [p for p in policy.parameters() if p.requires_grad]
    return torch.optim.Adam(
        [
            {"params": trained, "lr": settings.learning_rate},
            {"params": value_head.parameters(), "lr": value_rate},
        ]
    )


def update(
    policy: nn.Module,
    value_head: ValueHead,
    optimizer: torch.optim.Optimizer,
    experience: Experience,
    settings: PpoSettings,
    *,
    kl_coef: float,
    temperature: float,
    seed: int,
) -> dict[str, float]:
    """Several epochs of clipped-surrogate steps on one batch of experience; returns the metrics of `docs/metrics.md`.

    Stops early when the mean approximate KL of a minibatch to the sampling policy passes 1.5 times `target_kl`.
    """
    batch = experience.actions
    mask = batch.action_mask
    old_values = _values(policy, value_head, batch, settings.minibatch_size)
    kl = k1(experience.logprobs, experience.ref_logprobs)
    rewards = adv.token_rewards(experience.rewards, kl, mask, kl_coef)
    advantages, returns = adv.gae(rewards, old_values, mask, settings.gamma, settings.gae_lambda)
    explained = 1 - _masked_variance(returns - old_values, mask) / _masked_variance(returns, mask)
    if settings.whiten_advantages:
        advantages = adv.whiten(advantages, mask)

    generator = torch.Generator().manual_seed(seed)
    log: dict[str, list[float]] = {}
    stopped = False
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(batch), generator=generator).split(settings.minibatch_size):
            optimizer.zero_grad(set_to_none=True)
            tokens = mask[rows].sum()
            pieces = -(-len(rows) // settings.gradient_accumulation)
            figures: dict[str, float] = {}
            for piece in rows.split(pieces):
                part = batch.rows(piece)
                width = part.action.shape[1]
                kept = part.action_mask
                logprobs, hidden = forward(policy, part, temperature, hidden=True)
                assert hidden is not None
                values = value_head(hidden)
                old = experience.logprobs[piece, :width]
                policy_loss = losses.ppo_policy(logprobs, old, advantages[piece, :width], kept, settings.clip_coef)
                value_loss = losses.ppo_value(
                    values, old_values[piece, :width], returns[piece, :width], kept, settings.value_clip
                )
                ((policy_loss + settings.value_coef * value_loss) / tokens).backward()
                with torch.no_grad():
                    moved = (logprobs - old).exp()
                    _add(figures, "policy_loss", policy_loss / tokens)
                    _add(figures, "value_loss", value_loss / tokens)
                    _add(figures, "approx_kl", losses.masked_sum(k3(old, logprobs), kept) / tokens)
                    clipped = ((moved - 1).abs() > settings.clip_coef).float()
                    _add(figures, "clip_share", losses.masked_sum(clipped, kept) / tokens)
            if settings.target_kl is not None and figures["approx_kl"] > 1.5 * settings.target_kl:
                stopped = True  # before the step that would carry the policy further
                break
            if settings.max_grad_norm is not None:
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                figures["grad_norm"] = float(nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm))
            optimizer.step()
            for name, value in figures.items():
                log.setdefault(name, []).append(value)
        if stopped:
            break
    metrics = {name: sum(values) / len(values) for name, values in log.items()}
    return metrics | {
        "explained_variance": float(explained),
        "updates": float(len(log.get("policy_loss", ()))),
    }


@torch.no_grad()
def _values(policy: nn.Module, value_head: ValueHead, batch: Actions, minibatch: int) -> Tensor:
    """Values [N, T] before the update, in batches of like length; 0 on padding."""
    values = torch.zeros_like(batch.action, dtype=torch.float32)
    order = (batch.query_mask.sum(1) + batch.action_mask.sum(1)).argsort()
    for rows in order.split(max(minibatch, 64)):
        part = batch.rows(rows)
        found = value_head(hidden_states(policy, part))
        values[rows, : part.action.shape[1]] = found.masked_fill(~part.action_mask, 0.0)
    return values


def _masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    return values[mask].var(correction=0)


def _add(figures: dict[str, float], name: str, value: Tensor) -> None:
    figures[name] = figures.get(name, 0.0) + float(value)
