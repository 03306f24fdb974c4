"""Efficient exact optimisation (Ji et al. 2024): the reverse KL from the prompter to rho*, on a prompt's rewrites."""

from __future__ import annotations

from torch import Tensor


def loss(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, counts: Tensor, lam: float) -> Tensor:
    """KL(p || q) over a prompt's rewrites [B] in nats, p ~ counts rho / rho_sft and q ~ counts exp(R / lam).

    All [B, G]: different rewrites drawn from the reference and how often each was, 0 where there is none. Zero exactly
    where the prompter is rho* of (10) on them. Linear in the rewards, so their noise does not move its expectation.
    """
    drawn = counts > 0
    log_counts = counts.clamp(min=1).log().masked_fill(~drawn, -1e30)  # finite, since inf - inf is nan
    log_p = (logprobs - ref_logprobs + log_counts).log_softmax(-1)
    log_q = (rewards / lam + log_counts).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).masked_fill(~drawn, 0.0).sum(-1)
