"""The loop of a supervised fit: batches known beforehand, pieces that fit the memory, checkpoints, resume."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from alignpro.errors import Interrupted
from alignpro.models.lora import load_trained_state, trained_state
from alignpro.rng import derive
from alignpro.runtime.interrupt import StopRequest
from alignpro.train import checkpoint, guard, records
from alignpro.train.master_weights import MasterAdam

Batch = TypeVar("Batch")
Piece = tuple[Tensor, float]
"""A part of a batch's loss: what is minimised, and the loss that is told. Both add up over its pieces."""
OnStep = Callable[[int, float], "bool | None"]
"""Called with (step, its loss) after every step; what is true ends the fit."""


@dataclass(frozen=True)
class Keeper:
    """The folder in which a fit keeps its rows and checkpoints, how often it saves itself, and who may stop it."""

    folder: Path
    every: int
    keep: int
    stop: StopRequest
    say: Callable[[str], None]

    def resume(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Put the newest checkpoint's state and rows in place; the step it was saved after, 0 where there is none.

        Raises CheckpointError.
        """

        def put_back(state: dict[str, Any]) -> None:
            load_trained_state(model, state["model"])
            optimizer.load_state_dict(state["optimizer"])

        latest = checkpoint.resume(self.folder / "checkpoints", put_back, self.say)
        records.rewind(self.folder, latest, self.say)
        return latest.step if latest else 0

    def save(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "model": trained_state(model),
            "optimizer": optimizer.state_dict(),
            "random": checkpoint.random_states(),
        }
        checkpoint.save(self.folder / "checkpoints", step, state, self.keep, records.taken(self.folder))


def fit(
    model: Any,
    batch_of: Callable[[int], Batch],
    pieces: Callable[[Batch], Iterable[Piece]],
    steps: int,
    learning_rate: float,
    *,
    warmup: int = 50,
    weight_decay: float = 0.01,
    max_grad_norm: float | None = 1.0,
    keeper: Keeper | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Minimise with AdamW and a cosine schedule; step s (from 1) reads `batch_of(s)` and nothing else of chance.

    `pieces` gives a batch's loss part by part, so that no more than a part is in memory. Weights that need no gradient
    stay; those in bfloat16 are trained through copies in float32. Raises LossNotFinite before a step that would ruin
    the weights, Interrupted, CheckpointError.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = MasterAdam(
        [{"params": trained}],
        lr=learning_rate,
        weight_decay=weight_decay,
        betas=(0.9, 0.98),
        decoupled_weight_decay=True,
    )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    saved = done = keeper.resume(model, optimizer) if keeper else 0

    def told(fault: str) -> str:
        return (
            f"step {step} of {steps}: {fault} at a learning rate of {rate:.3g}; {guard.kept(saved)}. Start anew with a"
            " lower learning_rate or max_grad_norm"
        )

    model.train()
    while done < steps:
        step = done + 1
        rate = learning_rate * cosine(done, steps, warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = _backward(pieces(batch_of(step)))
        norm = nn.utils.clip_grad_norm_(parameters, max_grad_norm if max_grad_norm is not None else math.inf)
        with guard.telling(told):
            guard.check({"the loss": loss, "the gradient's length": float(norm)})
            optimizer.step()
            guard.check_weights(parameters)
            done = step
            ends = bool(on_step and on_step(step, loss))
        if keeper and (step % keeper.every == 0 or step == steps or ends or keeper.stop.asked):
            keeper.save(step, model, optimizer)
            saved = step
        if ends:
            break
        if keeper and keeper.stop.asked and step < steps:
            raise Interrupted(f"stopped after step {step} of {steps}")
    model.eval()


def _backward(pieces: Iterable[Piece]) -> float:
    total = 0.0
    for minimised, loss in pieces:
        minimised.backward()
        total += loss
    return total


def plan(sizes: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[list[list[int]]]:
    """For each epoch its batches of items, shuffled anew: items of `sizes` that together make up `batch_size`.

    An item is never cut, so a batch may hold more by the last one's size; an epoch's last batch may hold less.
    """
    planned = []
    for epoch in range(epochs):
        batches: list[list[int]] = []
        held = batch_size
        for item in np.random.default_rng(derive(seed, "order", epoch)).permutation(len(sizes)).tolist():
            if held >= batch_size:
                batches.append([])
                held = 0
            batches[-1].append(item)
            held += sizes[item]
        planned.append(batches)
    return planned


def cut(rows: Sequence[int], lengths: Sequence[int], most: int | None) -> list[list[int]]:
    """Items in pieces of at most `most` tokens when padded: `rows[i]` sequences of `lengths[i]` tokens or fewer.

    Items of like length come together; one that is too large by itself is a piece of its own. None: one piece.
    """
    if most is None:
        return [list(range(len(rows)))]
    pieces: list[list[int]] = []
    held = 0
    for item in sorted(range(len(rows)), key=lambda i: lengths[i]):
        if not pieces or (held + rows[item]) * lengths[item] > most:
            pieces.append([])
            held = 0
        pieces[-1].append(item)
        held += rows[item]
    return pieces


def cosine(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate: linear up over `warmup`, then a half cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done)))
