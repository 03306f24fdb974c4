"""Reward learning by Bradley-Terry, (1): L(r) = -E[ log sigmoid( r(x, y_w) - r(x, y_l) ) ]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignpro.train.sft import cosine

Preference = tuple[list[int], list[int]]
"""Ids of (x, y_w) and of (x, y_l), each framed as the reward model reads it."""


def loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(1) for scores [N] of the winning and of the losing responses; its mean, in nats."""
    return -nn.functional.logsigmoid(chosen - rejected).mean()


def fit(
    model: Any,
    batches: Iterator[list[Preference]],
    steps: int,
    learning_rate: float,
    pad_id: int,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Minimise (1) with AdamW and a cosine schedule; `on_step` gets (step, loss in nats a pair)."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps, warmup=50))
    model.train()
    for step in range(1, steps + 1):
        pairs = next(batches)
        scores = _scores(model, [ids for pair in pairs for ids in pair], pad_id)
        batch_loss = loss(scores[0::2], scores[1::2])
        optimizer.zero_grad()
        batch_loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step, float(batch_loss.detach()))
    model.eval()


@torch.no_grad()
def accuracy(model: Any, pairs: Sequence[Preference], pad_id: int, batch_size: int = 128) -> float:
    """Share of held-out pairs whose winning response scores higher; a tie counts half."""
    margins = []
    for start in range(0, len(pairs), batch_size):
        scores = _scores(model, [ids for pair in pairs[start : start + batch_size] for ids in pair], pad_id)
        margins.append(scores[0::2] - scores[1::2])
    margin = torch.cat(margins)
    return float(((margin > 0).double() + 0.5 * (margin == 0).double()).mean())


def _scores(model: Any, rows: Sequence[list[int]], pad_id: int) -> Tensor:
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row)
        mask[i, : len(row)] = 1
    output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
    return torch.as_tensor(output.logits)[:, 0]
