"""Direct preference optimisation (Rafailov et al. 2023) on pairs of rewrites, with the odds that (1) gives them."""

from __future__ import annotations

from torch import Tensor, nn


def loss(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, counts: Tensor, lam: float) -> Tensor:
    """Mean over a prompt's pairs of the cross entropy between two Bradley-Terry models (1), [B] in nats.

    All [B, G]: different rewrites drawn from the reference and how often each was, 0 where there is none. The pair
    (i, j) is won by i with odds sigmoid((R_i - R_j) / lam), where the prompter's implicit reward says sigmoid(h_i -
    h_j), h = log rho - log rho_sft. DPO's paper has R and lam h in their place, which is the same optimum, rho* of
    (10), in other units; in these the loss is as steep at a small lam as at a large one. Labels are odds and not coin
    flips: less noise, the same expectation.
    """
    h = logprobs - ref_logprobs
    odds = ((rewards.unsqueeze(2) - rewards.unsqueeze(1)) / lam).sigmoid()
    margin = h.unsqueeze(2) - h.unsqueeze(1)
    entropy = nn.functional.binary_cross_entropy_with_logits(margin, odds, reduction="none")
    pairs = (counts.unsqueeze(2) * counts.unsqueeze(1)).triu(1)
    return (pairs * entropy).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)
