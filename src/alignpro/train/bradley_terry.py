"""Reward learning by Bradley-Terry, (1): L(r) = -E[ log sigmoid( r(x, y_w) - r(x, y_l) ) ]."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignpro.models.padding import pad
from alignpro.train.sft import cosine


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Answers to one prompt and which was preferred to which.

    `rows` are ids of (x, y), framed as the reward model reads them; `pairs` are (winner, loser) indices into them.
    Several comparisons of the same answers cost one forward pass of each.
    """

    rows: list[list[int]]
    pairs: list[tuple[int, int]]


def loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(1) for scores [N] of the winning and of the losing responses; its mean, in nats."""
    return -nn.functional.logsigmoid(chosen - rejected).mean()


def fit(
    model: Any,
    batches: Iterator[list[Comparisons]],
    steps: int,
    learning_rate: float,
    pad_id: int,
    centre: float = 0.02,
    on_step: Callable[[int, float], None] | None = None,
) -> None:
    """Minimise (1) with AdamW and a cosine schedule; `on_step` gets (step, loss in nats a pair).

    (1) sees differences alone and leaves each prompt's level of reward to chance; `centre` times the mean squared sum
    of a pair's scores is added to it, so that rewards lie around 0 for every prompt and compare across prompts.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps, warmup=50))
    model.train()
    for step in range(1, steps + 1):
        chosen, rejected = _scores(model, next(batches), pad_id)
        batch_loss = loss(chosen, rejected)
        optimizer.zero_grad()
        (batch_loss + centre * ((chosen + rejected) ** 2).mean()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if on_step:
            on_step(step, float(batch_loss.detach()))
    model.eval()


@torch.no_grad()
def accuracy(model: Any, held_out: Sequence[Comparisons], pad_id: int, batch_size: int = 64) -> float:
    """Share of pairs whose winning response scores higher; a tie counts half."""
    margins = []
    for start in range(0, len(held_out), batch_size):
        chosen, rejected = _scores(model, held_out[start : start + batch_size], pad_id)
        margins.append(chosen - rejected)
    margin = torch.cat(margins)
    return float(((margin > 0).double() + 0.5 * (margin == 0).double()).mean())


def _scores(model: Any, batch: Sequence[Comparisons], pad_id: int) -> tuple[Tensor, Tensor]:
    """Scores [N] of the winners and of the losers of all N pairs."""
    rows = [row for group in batch for row in group.rows]
    ids, mask = pad(rows, pad_id, "right", model.device)
    scores = model(input_ids=ids, attention_mask=mask.long()).logits[:, 0]
    winners, losers, start = [], [], 0
    for group in batch:
        winners += [start + winner for winner, _ in group.pairs]
        losers += [start + loser for _, loser in group.pairs]
        start += len(group.rows)
    return scores[winners], scores[losers]
