"""Weighted maximum likelihood: the forward KL from rho* of (10) to the prompter, on rewrites of the reference."""

from __future__ import annotations

from torch import Tensor


def loss(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, counts: Tensor, lam: float) -> Tensor:
    """-sum_g w_g log rho(x'_g|x), w_g proportional to counts_g exp(R_g / lam) over a prompt's rewrites, [B] in nats.

    All [B, G]: different rewrites drawn from the reference and how often each was, 0 where there is none. The minimum
    over all prompters is rho* as the draws grow in number. `ref_logprobs` only sets the level: what is returned is
    the loss above that of the reference.
    """
    weights = (rewards / lam + counts.log()).softmax(-1)
    return -(weights * (logprobs - ref_logprobs)).sum(-1)
