"""From rewards to advantages. N rows, T tokens; masks are True on real tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(rewards: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """Rewards a token [N, T]: -kl_coef times the k1 KL of each token, plus the row's reward [N] at its last token.

    Summed over tokens this is one draw of (9)'s objective. `kl` [N, T] in nats.
    """
    paid = torch.where(mask, -kl_coef * kl, 0.0)
    last = (mask.sum(1) - 1).clamp(min=0)
    return paid.scatter_add(1, last.unsqueeze(1), rewards.to(paid).unsqueeze(1))


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and returns [N, T] (Schulman et al. 2016), 0 on padding.

    delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma gae_lambda A_{t+1}; the value after a row's end is 0.
    """
    values = torch.where(mask, values, 0.0)
    advantages = torch.zeros_like(rewards)
    carried = torch.zeros_like(rewards[:, 0])
    after = torch.zeros_like(carried)
    for t in reversed(range(rewards.shape[1])):
        carried = rewards[:, t] + gamma * after - values[:, t] + gamma * gae_lambda * carried
        carried = torch.where(mask[:, t], carried, 0.0)
        advantages[:, t], after = carried, values[:, t]
    return advantages, advantages + values


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the masked entries; 0 elsewhere. Constant input gives zeros."""
    kept = values[mask]
    centred = values - kept.mean()
    return torch.where(mask, centred / (kept.std(correction=0) + 1e-8), 0.0)


def leave_one_out(rewards: Tensor, kl: Tensor, groups: Tensor, kl_coef: float) -> Tensor:
    """R - kl_coef KL of a row less the mean of the others of its group [N] (Ahmadian et al. 2024); a lone row gets 0.

    `rewards`, `kl` [N] (nats, summed over tokens), `groups` [N] integers. The baseline is independent of the row, so
    the gradient of (9) is unbiased.
    """
    centred, count = _centred(rewards - kl_coef * kl, groups)
    return centred * count / (count - 1).clamp(min=1)


def group_relative(rewards: Tensor, kl: Tensor, groups: Tensor, kl_coef: float, divide: bool = False) -> Tensor:
    """R less its group's mean, and the price of KL centred likewise [N] (Shao et al. 2024, "Dr. GRPO" by Liu et al.
    2025).

    With `divide` the reward's part is over the group's deviation, as GRPO first had it. The fixed point then is (10)
    with lam * std of R under the policy itself in place of lam: prompts whose rewards differ little pay little for KL
    and are pushed as far as the others.
    """
    centred, count = _centred(rewards, groups)
    if divide:
        variance = centred.new_zeros(int(groups.max()) + 1).index_add(0, groups, centred**2)[groups]
        centred = centred / ((variance / (count - 1).clamp(min=1)).sqrt() + 1e-6)
    return centred - kl_coef * _centred(kl, groups)[0]


def _centred(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Values less their group's mean [N], and the size of each row's group [N]."""
    size = int(groups.max()) + 1
    count = values.new_zeros(size).index_add(0, groups, torch.ones_like(values))
    total = values.new_zeros(size).index_add(0, groups, values)
    return values - (total / count.clamp(min=1))[groups], count[groups]
