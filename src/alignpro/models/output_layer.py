"""The output layer: what it reads, and the log-probabilities of chosen tokens without the logits of all others at once.

A vocabulary of 49,152 makes 200 kB of each token's logits, and their gradient as much again. Here they exist for some
rows at a time, and what the backward pass needs of them is a row of the hidden state's width.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from alignpro.runtime import processes

AT_ONCE = 1 << 23
"""Logits that exist at a time."""
IN_CACHE = 1 << 20
"""Logits of which the softmax is taken at a time; they stay in the processor's cache."""
ON_GPU = 1 << 27
"""What both are on a GPU, where few large kernels are quicker than many small ones."""
KEPT = 1 << 25
"""Logits of which the softmax is kept for the backward pass where the output layer is trained; others are computed
anew."""
PEAK = 50.0
"""The largest logit of a trial, at which a cap on logits shows."""
_TRIED: weakref.WeakKeyDictionary[nn.Module, float | None] = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Seen:
    """What an output layer read [N, t, H], of its last call."""

    hidden: Tensor | None = None


def readable(model: Any) -> nn.Module | None:
    """The output layer, if what it reads can be taken from it: weights split over processes are whole in the model's
    own pass alone."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return None if processes.is_sharded() or not isinstance(head, nn.Module) else head


@contextmanager
def reading(head: nn.Module, *, skip: bool, instead: Tensor | None = None) -> Iterator[Seen]:
    """While open, what this thread has the layer read is told; with `skip` it reads none of it, so that the model's
    logits are empty. `instead` is what it reads in its place."""
    seen, mine = Seen(), threading.get_ident()

    def note(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if threading.get_ident() != mine:
            return None
        seen.hidden = given[0]
        return (given[0][:, :0] if skip else given[0] if instead is None else instead, *given[1:])

    handle = head.register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def scale_of(model: Any, head: nn.Module | None) -> float | None:
    """What the model's logits are of the product of a plain output layer, by a trial; None where they are no multiple
    of it, or the layer is more than its weights (an adapter, a part of it elsewhere)."""
    if type(head) is not nn.Linear or "forward" in vars(head) or head._forward_pre_hooks or head._forward_hooks:
        return None
    if head not in _TRIED:
        _TRIED[head] = _tried(model, head)
    return _TRIED[head]


@torch.no_grad()
def _tried(model: Any, head: nn.Linear) -> float | None:
    probe = torch.randn(1, 4, head.weight.shape[1], generator=torch.Generator().manual_seed(0)).to(head.weight)
    probe *= PEAK / head(probe).abs().max()
    plain = head(probe)
    ids = torch.zeros(1, 4, dtype=torch.long, device=model.get_input_embeddings().weight.device)
    try:
        with reading(head, skip=False, instead=probe):
            logits = model(input_ids=ids, use_cache=False).logits
        if torch.equal(logits, plain.to(logits)):
            return 1.0
        a, b = logits.double(), plain.double()
        scale = float((a * b).sum() / (b * b).sum())
        bound = (1e-5 if head.weight.dtype.itemsize > 2 else 1e-2) * PEAK
        return scale if scale > 0 and bool((a / scale - b).abs().max() <= bound) else None
    except Exception:  # of a class that is not ours: it is asked for its logits
        return None


def chosen_logprobs(hidden: Tensor, head: nn.Linear, token: Tensor, temperature: float) -> Tensor:
    """log softmax(head(hidden) / temperature) [M] of the tokens chosen [M], from what the output layer reads [M, H]."""
    chosen: Tensor = _Chosen.apply(hidden, head.weight, head.bias, token, temperature, torch.is_grad_enabled())
    return chosen


class _Chosen(torch.autograd.Function):
    """The gradient of a row's log-probability with respect to its hidden state, W[token] - softmax W, is computed with
    it, while its logits are there. That of the weights takes the softmax of all rows again."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, token: Tensor, temperature: float, learns: bool
    ) -> Tensor:
        to_hidden, to_weight, to_bias = (learns and needed for needed in ctx.needs_input_grad[:3])
        logprobs, toward, kept, room = list[Tensor](), list[Tensor](), list[Tensor](), KEPT
        for some, taken in _in_chunks(hidden, token, weight):
            found, share = _softmax(some, weight, bias, taken, temperature, to_hidden or to_weight or to_bias)
            logprobs.append(found)
            if to_hidden:
                toward.append(share @ weight)
            room -= share.numel()
            if (to_weight or to_bias) and room >= 0:
                kept.append(share)
        ctx.temperature = temperature
        ctx.save_for_backward(hidden, weight, bias, token, torch.cat(toward) if toward else None, *kept)
        return torch.cat(logprobs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, token, toward, *kept = ctx.saved_tensors
        to_hidden, to_weight, to_bias = ctx.needs_input_grad[:3]
        factor = (grads[0] / ctx.temperature)[:, None]
        own = (toward * factor).to(hidden.dtype) if to_hidden else None
        of_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if to_weight else None
        of_bias = torch.zeros(len(weight), dtype=torch.float32, device=weight.device) if to_bias else None
        if of_weight is not None or of_bias is not None:
            chunks = _in_chunks(hidden, token, weight)
            for i, ((some, taken), times) in enumerate(zip(chunks, factor.split(_rows(weight)), strict=True)):
                share = kept[i] if i < len(kept) else _softmax(some, weight, bias, taken, ctx.temperature, True)[1]
                if of_weight is not None and share.dtype == torch.float32:
                    of_weight.addmm_(share.T, some * times)
                elif of_weight is not None:
                    of_weight += share.T @ (some * times).to(share.dtype)
                if of_bias is not None:
                    of_bias += (share.float() * times).sum(0)
        return (
            own,
            None if of_weight is None else of_weight.to(weight.dtype),
            None if of_bias is None else of_bias.to(weight.dtype),
            None,
            None,
            None,
        )


def _rows(weight: Tensor) -> int:
    return max(1, (ON_GPU if weight.is_cuda else AT_ONCE) // len(weight))


def _in_chunks(hidden: Tensor, token: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(hidden.split(_rows(weight)), token[:, None].split(_rows(weight)), strict=True)


def _softmax(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, token: Tensor, temperature: float, share: bool
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [m] of `token` [m, 1], and, with `share`, one at each of them less the softmax [m, V]."""
    logits = nn.functional.linear(hidden, weight, bias)
    found = []
    rows = max(1, (ON_GPU if logits.is_cuda else IN_CACHE) // logits.shape[1])
    for some, taken in zip(logits.split(rows), token.split(rows), strict=True):
        scaled = some.float() / temperature
        if not share:
            found.append(scaled.gather(1, taken) - scaled.logsumexp(1, keepdim=True))
            continue
        softmax = scaled.softmax(1)
        normaliser = scaled.amax(1, keepdim=True) - softmax.amax(1, keepdim=True).log()
        found.append(scaled.gather(1, taken) - normaliser)
        some.copy_(softmax.neg_().scatter_add_(1, taken, torch.ones_like(normaliser)))
    return torch.cat(found).squeeze(1), logits
