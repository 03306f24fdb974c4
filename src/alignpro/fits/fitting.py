"""What the fits share: weights that are trained, with or without an adapter, and what is kept of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from alignpro.config import FitSettings
from alignpro.models.checkpointing import checkpointable, checkpointed
from alignpro.models.lora import adapted
from alignpro.rng import derive
from alignpro.running.opening import OpenRun
from alignpro.runtime.run_folder import RunFolder
from alignpro.train.pieces import affordable
from alignpro.train.policy import check_trainable
from alignpro.train.supervised import Keeper

MOST = 16_384
"""Tokens of a piece at most, where the settings leave it open: more make nothing quicker."""


def keeper(run: OpenRun[Any], fit: FitSettings) -> Keeper:
    """Checkpoints of a fit in its folder."""
    return Keeper(run.folder.path, fit.save_every, fit.keep_checkpoints, run.stop, run.progress.say)


def check_fit(model: Any, fit: FitSettings, section: str) -> None:
    """Raise SettingsError for weights that cannot be trained as the section says."""
    check_trainable(model, fit.lora, f"{section}.lora")
    if fit.gradient_checkpointing:
        checkpointable(model)


@contextmanager
def fitted(model: Any, fit: FitSettings, section: str, seed: int, whole: Sequence[str] | None = None) -> Iterator[Any]:
    """The model with every weight to be trained, or with an adapter that alone is; see `adapted` for `whole`.

    An adapter is taken off again at the end, and the model is as it was. Dropout draws from `seed` on.
    """
    torch.manual_seed(derive(seed, "dropout"))
    if fit.lora is None:
        model.requires_grad_(True)
        with checkpointed(model, fit.gradient_checkpointing):
            yield model
        return
    with (
        adapted(model, fit.lora, f"{section}.lora", derive(seed, "lora"), whole) as policy,
        checkpointed(policy, fit.gradient_checkpointing),
    ):
        yield policy


def tokens_of(fit: FitSettings, model: Any, sizes: Sequence[int], loss: Callable[[list[int]], Iterable[Any]]) -> int:
    """Tokens of a piece of a batch: those of the settings, or so many as fit the memory that is free.

    `sizes` are the tokens of each item that is learned from, `loss` what some of them, by number, compute.
    """
    if fit.batch_tokens is not None or len(sizes) < 2:
        return fit.batch_tokens or MOST
    two = sorted(range(len(sizes)), key=lambda i: sizes[i], reverse=True)[:2]
    return min(MOST, affordable(model, lambda: list(loss(two[:1])), lambda: list(loss(two)), sizes[two[0]]))


def curve_of(folder: RunFolder) -> Path:
    """Held-out figures along a fit, a line each."""
    return folder.path / "curve.jsonl"


def say_dropped(say: Callable[[str], None], dropped: Counter[str], what: str) -> None:
    """A line for every reason, the commonest first."""
    for reason, count in dropped.most_common():
        say(f"{count} {what} left out: {reason}")
