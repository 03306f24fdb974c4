"""The three offline losses, by which the prompter is fitted to rho* of (10) on rewrites of the reference.

Their arguments are all [B, G]: of the different rewrites that the reference drew for each prompt, log-probabilities
under the prompter and under the reference, R(x, x'), and `counts`, how often each was drawn, 0 where there is none.
`lam` is the price of KL.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
"""(logprobs, ref_logprobs, rewards, counts [B, G], lam) -> loss [B]."""


def weighted_likelihood(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, counts: Tensor, lam: float) -> Tensor:
    """Weighted maximum likelihood, the forward KL from rho* of (10) to the prompter.

    -sum_g w_g log rho(x'_g|x), w_g proportional to counts_g exp(R_g / lam) over a prompt's rewrites, [B] in
    nats. The minimum over all prompters is rho* as the draws grow in number. `ref_logprobs` only sets the level: what
    is returned is the loss above that of the reference.
    """
    weights = (rewards / lam + counts.log()).softmax(-1)
    return -(weights * (logprobs - ref_logprobs)).sum(-1)


def dpo(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, counts: Tensor, lam: float) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023) on pairs of rewrites, with the odds that (1) gives them.

    Mean over a prompt's pairs of the cross entropy between two Bradley-Terry models (1), [B] in nats. The
    pair (i, j) is won by i with odds sigmoid((R_i - R_j) / lam), where the prompter's implicit reward says
    sigmoid(h_i - h_j), h = log rho - log rho_sft. DPO's paper has R and lam h in their place, which is the same
    optimum, rho* of (10), in other units; in these the loss is as steep at a small lam as at a large one. Labels are
    odds and not coin flips: less noise, the same expectation.
    """
    h = logprobs - ref_logprobs
    odds = ((rewards.unsqueeze(2) - rewards.unsqueeze(1)) / lam).sigmoid()
    margin = h.unsqueeze(2) - h.unsqueeze(1)
    entropy = nn.functional.binary_cross_entropy_with_logits(margin, odds, reduction="none")
    pairs = (counts.unsqueeze(2) * counts.unsqueeze(1)).triu(1)
    return (pairs * entropy).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)


def exo(logprobs: Tensor, ref_logprobs: Tensor, rewards: Tensor, counts: Tensor, lam: float) -> Tensor:
    """Efficient exact optimisation (Ji et al. 2024): the reverse KL from the prompter to rho*.

    KL(p || q) over a prompt's rewrites [B] in nats, p ~ counts rho / rho_sft and q ~ counts exp(R / lam).
    Zero exactly where the prompter is rho* of (10) on them. Linear in the rewards, so their noise does not move its
    expectation.
    """
    drawn = counts > 0
    log_counts = counts.clamp(min=1).log().masked_fill(~drawn, -1e30)  # finite, since inf - inf is nan
    log_p = (logprobs - ref_logprobs + log_counts).log_softmax(-1)
    log_q = (rewards / lam + log_counts).log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).masked_fill(~drawn, 0.0).sum(-1)


LOSSES: dict[str, Loss] = {"weighted_likelihood": weighted_likelihood, "dpo": dpo, "exo": exo}
"""By `train.method`."""
