"""Reward learning by Bradley-Terry, (1): L(r) = -E[ log sigmoid( r(x, y_w) - r(x, y_l) ) ]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from alignpro.rewards.layout import Row, inputs
from alignpro.train import supervised


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Answers to one prompt and which was preferred to which.

    `rows` are (x, y), framed as the reward model reads them; `pairs` are (winner, loser) indices into them, and
    `margins`, where there are any, by how much each winner should score higher. Several comparisons of the same
    answers cost one forward pass of each.
    """

    rows: list[Row]
    pairs: list[tuple[int, int]]
    margins: list[float] = field(default_factory=list)

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(map(len, self.rows))


def loss(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, smoothing: float = 0.0) -> Tensor:
    """(1) for scores [N] of the winning and of the losing responses; its mean, in nats.

    The winner is asked to score higher by `margin`; a share `smoothing` of the labels is taken to be the other way.
    """
    ahead = chosen - rejected - margin
    agreed = nn.functional.logsigmoid(ahead)
    if smoothing:
        agreed = (1 - smoothing) * agreed + smoothing * nn.functional.logsigmoid(-ahead)
    return -agreed.mean()


def pieces(
    model: Any,
    batch: Sequence[Comparisons],
    pad_id: int,
    *,
    centre: float = 0.02,
    smoothing: float = 0.0,
    tokens: int | None = None,
) -> Iterator[supervised.Piece]:
    """A batch's mean loss over its pairs, in pieces of at most `tokens` tokens; what is told is (1) alone.

    (1) sees differences alone and leaves each prompt's level of reward to chance; `centre` times the mean squared sum
    of a pair's scores is added to it, so that rewards lie around 0 for every prompt and compare across prompts.
    """
    total = sum(len(group.pairs) for group in batch)
    sizes, lengths = [len(group.rows) for group in batch], [group.longest for group in batch]
    for which in supervised.cut(sizes, lengths, tokens):
        piece = [batch[i] for i in which]
        chosen, rejected = _scores(model, piece, pad_id)
        share = len(chosen) / total
        margin = torch.tensor([m for g in piece for m in (g.margins or [0.0] * len(g.pairs))], device=chosen.device)
        nats = loss(chosen, rejected, margin, smoothing)
        yield (nats + centre * ((chosen + rejected) ** 2).mean()) * share, float(nats.detach()) * share


def fit(
    model: Any,
    batches: Iterator[list[Comparisons]],
    steps: int,
    learning_rate: float,
    pad_id: int,
    centre: float = 0.02,
    on_step: supervised.OnStep | None = None,
) -> None:
    """Minimise (1) over endless batches; `on_step` gets (step, loss in nats a pair)."""
    supervised.fit(
        model,
        lambda step: next(batches),
        lambda batch: pieces(model, batch, pad_id, centre=centre),
        steps,
        learning_rate,
        on_step=on_step,
    )


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
    scores = model(**inputs(rows, pad_id, model.device)).logits[:, 0].float()
    winners, losers, start = [], [], 0
    for group in batch:
        winners += [start + winner for winner, _ in group.pairs]
        losers += [start + loser for _, loser in group.pairs]
        start += len(group.rows)
    return scores[winners], scores[losers]
