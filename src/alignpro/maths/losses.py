"""PPO's losses, over N rows and T tokens; masks are True on real tokens and padding counts for nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over masked entries."""
    return torch.where(mask, values, 0.0).sum()


def ppo_policy(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Clipped surrogate (Schulman et al. 2017), summed over tokens: sum of max(-A w, -A clip(w, 1-clip, 1+clip)).

    w = exp(logprobs - old_logprobs). All [N, T].
    """
    ratio = (logprobs - old_logprobs).exp()
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))
    return masked_sum(loss, mask)


def ppo_value(values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """Half the squared error, the worse of the value and of the value kept within `clip` of the old one; summed.
    [N, T]."""
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    loss = 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return masked_sum(loss, mask)
