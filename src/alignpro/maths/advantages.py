"""From rewards to advantages. N rows, T tokens; masks are True on real tokens."""

from __future__ import annotations

import math

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
    """Shift and scale to mean 0 and variance 1 over the masked entries; 0 elsewhere. Values that are equal up to
    rounding give zeros."""
    kept = values[mask]
    centred, _ = _centred(kept, torch.zeros_like(kept, dtype=torch.long))
    white = torch.zeros_like(values)
    white[mask] = (centred / (centred.square().mean().sqrt() + 1e-8)).to(values)
    return white


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 - variance(returns - values) / variance(returns) over the masked entries; nan where returns are equal up to
    rounding."""
    kept = returns[mask]
    group = torch.zeros_like(kept, dtype=torch.long)
    left, whole = (_centred(found, group)[0].square().mean() for found in (kept - values[mask], kept))
    return float(1 - left / whole) if whole else math.nan


def leave_one_out(rewards: Tensor, kl: Tensor, groups: Tensor, kl_coef: float) -> Tensor:
    """R - kl_coef KL of a row less the mean of the others of its group [N] (Ahmadian et al. 2024); a lone row gets 0.

    `rewards`, `kl` [N] (nats, summed over tokens), `groups` [N] integers. The baseline is independent of the row, so
    the gradient of (9) is unbiased.
    """
    centred, count = _centred(rewards, groups)
    priced = centred - kl_coef * _centred(kl, groups)[0]
    return (priced * count / (count - 1).clamp(min=1)).to(rewards)


def group_relative(rewards: Tensor, kl: Tensor, groups: Tensor, kl_coef: float, divide: bool = False) -> Tensor:
    """R less its group's mean, and the price of KL centred likewise [N] (Shao et al. 2024, "Dr. GRPO" by Liu et al.
    2025).

    With `divide` the reward's part is over the group's deviation, as GRPO first had it. The fixed point then is (10)
    with kl_coef * std of R under the policy itself in place of lam: prompts whose rewards differ little pay little for
    KL and are pushed as far as the others.
    """
    centred, count = _centred(rewards, groups)
    if divide:
        of = groups.cpu()
        variance = centred.new_zeros(int(of.max()) + 1).index_add(0, of, centred**2)[of]
        centred = centred / ((variance / (count - 1).clamp(min=1)).sqrt() + 1e-6)
    return (centred - kl_coef * _centred(kl, groups)[0]).to(rewards)


def _centred(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Values less their group's mean [N], and the size of each row's group [N]; float64 on the CPU.

    In a group whose values differ by no more than their own rounding, they are all 0.
    """
    rounding = 2 * torch.finfo(values.dtype).eps
    values, groups = values.detach().cpu().double(), groups.cpu()
    blank = values.new_zeros(int(groups.max()) + 1 if len(groups) else 0)
    count = blank.index_add(0, groups, torch.ones_like(values))
    largest = blank.scatter_reduce(0, groups, values, "amax", include_self=False)
    away = values - largest[groups]  # 0 where all are equal, whatever their sum is rounded to
    centred = away - (blank.index_add(0, groups, away) / count.clamp(min=1))[groups]
    spread, size = (blank.scatter_reduce(0, groups, v.abs(), "amax") for v in (centred, values))
    return torch.where((spread > rounding * size)[groups], centred, 0.0), count[groups]
