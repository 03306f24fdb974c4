"""Supervised fine-tuning: maximum likelihood of completions, given prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from alignpro.models.logprobs import collate, forward

Pair = tuple[list[int], list[int]]
"""Framed prompt ids, completion ids with their closing token."""


def fit(
    model: Any,
    batches: Iterator[list[Pair]],
    steps: int,
    learning_rate: float,
    pad_id: int,
    warmup: int = 50,
    on_step: Callable[[int, float], None] | None = None,
) -> float:
    """Minimise -log p(completion | prompt) a token with AdamW and a cosine schedule; returns the last steps' mean loss.

    Only completion tokens count. `on_step` gets (step, loss in nats a token).
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps, warmup))
    model.train()
    losses: list[float] = []
    for step in range(1, steps + 1):
        pairs = next(batches)
        batch = collate([p for p, _ in pairs], [np.asarray(c) for _, c in pairs], pad_id, model.device)
        logprobs, _ = forward(model, batch, temperature=1.0)
        loss = -logprobs.sum() / batch.action_mask.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if on_step:
            on_step(step, losses[-1])
    model.eval()
    tail = losses[-20:]
    return sum(tail) / len(tail) if tail else math.nan


def cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate: linear up over `warmup`, then a half cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done)))
