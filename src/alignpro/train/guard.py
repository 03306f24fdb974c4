"""What keeps numbers that are not finite out of weights and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from alignpro.errors import LossNotFinite
from alignpro.runtime import processes


def check(figures: Mapping[str, float]) -> None:
    """Raise LossNotFinite for a figure that is nan or infinite, by its name."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise LossNotFinite(f"{name} is {value}")


def check_weights(weights: Iterable[Tensor]) -> None:
    """Raise LossNotFinite where a weight is nan or infinite; in all processes where the weights are split."""
    from torch.distributed.tensor import DTensor

    own: list[Tensor] = [w.to_local() if isinstance(w, DTensor) else w for w in weights]
    bad = not bool(torch.isfinite(nn.utils.get_total_norm([w for w in own if w.numel()], math.inf)))
    if processes.any_of(bad) if processes.is_sharded() else bad:
        raise LossNotFinite("a weight is not finite after the optimiser's step")


@contextmanager
def telling(words: Callable[[str], str]) -> Iterator[None]:
    """What a LossNotFinite inside says, put into `words` of where it came from and what to do."""
    try:
        yield
    except LossNotFinite as error:
        raise LossNotFinite(words(str(error))) from None


def kept(saved: int) -> str:
    """What is left of a training that stopped, where the newest checkpoint is that of step `saved`."""
    return f"the checkpoint of step {saved} is whole" if saved else "no checkpoint was saved before it"
