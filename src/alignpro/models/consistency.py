"""Whether a model samples what it scores, told as it is loaded: of its class nothing is taken for granted.

Sampling reads a prompt once, padded beside longer ones, and goes on from what the model keeps; scoring reads prompt and
answer in one pass. A model that keeps nothing, or lets padding in, writes and trains on something else without a word.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from alignpro.config import Sampling
from alignpro.errors import ModelNotUsable, first_line
from alignpro.models.logprobs import collate, forward
from alignpro.models.sampler import sample_rows

NATS, HALF_NATS = 0.01, 0.5
"""Mean difference a token that passes for rounding: in float32, and in half precision, where 0.1 is nothing rare."""
MOST_WIDENED = 2_000_000_000
"""Weights in half precision up to which they are widened to float32 for the check."""
SHORT, LONG = 3, 12
"""Tokens of the row that is padded, and of the row beside it."""
DRAWN, HALF_DRAWN = 2, 6
"""Tokens drawn after each, in float32 and in half precision."""


def check_consistency(model: nn.Module, pad_id: int, context: int, where: str) -> None:
    """Compare a row sampled in a padded batch with its score there and alone. Raises ModelNotUsable where they differ.

    A few short passes; weights in half precision compute in float32 meanwhile and are as they were afterwards, but
    those of models too large for that, or whose kernels do not, which only a gross difference tells.
    """
    if context < LONG + HALF_DRAWN:
        return
    half = [p for p in model.parameters() if p.dtype in (torch.bfloat16, torch.float16)]
    bound, drawn = (HALF_NATS, HALF_DRAWN) if half else (NATS, DRAWN)
    try:
        off = None
        if half and sum(p.numel() for p in half) <= MOST_WIDENED and not hasattr(model, "hf_device_map"):
            with contextlib.suppress(Exception), _widened(half):
                off, bound = _differences(model, pad_id, DRAWN), NATS
        sampled, scored = off or _differences(model, pad_id, drawn)
    except Exception as error:  # of a class that is not ours
        told = first_line(error)
        raise ModelNotUsable(
            f"{where}: a model of its class ({type(model).__name__}) cannot be sampled in batches ({told}); give one of"
            " another class"
        ) from error
    if math.isnan(sampled):
        raise ModelNotUsable(
            f"{where}: its logits are not finite after ordinary tokens; its weights or dtype are at fault"
        )
    if max(sampled, scored) > bound:
        why = "lets padding in" if scored > bound else "does not go on from what it has read"
        raise ModelNotUsable(
            f"{where}: tokens sampled in a padded batch are {sampled:.2g} nats each off those scored alone, and scored"
            f" in that batch {scored:.2g} ({bound:g} would be rounding): a model of its class ({type(model).__name__})"
            f" {why}, and would sample from another model than the one that is scored and trained; give one of another"
            " class"
        )


@torch.no_grad()
def _differences(model: Any, pad_id: int, count: int) -> tuple[float, float]:
    """Mean nats a token between the padded row scored alone and, in the padded batch, sampled and scored; nan where its
    logits are not finite."""
    luck = torch.Generator().manual_seed(0)
    rows = model.get_input_embeddings().weight.shape[0]
    queries = [torch.randint(rows, (length,), generator=luck).tolist() for length in (SHORT, LONG)]
    noise = torch.rand(2, count, generator=luck)
    drawn = sample_rows(model, queries, noise, Sampling(max_new_tokens=count), (), pad_id, at_once=2)
    if any(generation.failure for generation in drawn):
        return math.nan, math.nan
    actions = [generation.tokens for generation in drawn]
    device = next(model.parameters()).device
    alone = forward(model, collate(queries[:1], actions[:1], pad_id, device), 1.0)[0][0].cpu()
    padded = forward(model, collate(queries, actions, pad_id, device), 1.0)[0][0].cpu()
    sampled = torch.as_tensor(drawn[0].logprobs)
    return float((sampled - alone).abs().mean()), float((padded - alone).abs().mean())


@contextlib.contextmanager
def _widened(parameters: list[nn.Parameter]) -> Iterator[None]:
    """In float32 while open, and the very same tensors again afterwards."""
    kept = [p.data for p in parameters]
    try:
        for p in parameters:
            p.data = p.data.float()
        yield
    finally:
        for p, data in zip(parameters, kept, strict=True):
            p.data = data
