"""A trained model written: whole under its name, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from alignpro.models import checksums
from alignpro.models.lora import is_adapted, save_trained
from alignpro.models.sharding import whole
from alignpro.runtime import files, processes


def write_model(model: Any, tokenizer: Any, target: Path) -> None:
    """Plain Hugging Face layout, or that of a peft adapter, under a name of its own until it is published; as
    `save_trained`.

    Weights keep the precision that they compute in. Of several processes the first writes. Raises RunFailure.
    """
    weights = whole(model.state_dict()) if processes.is_sharded() else None
    processes.by_first(lambda: _write(model, tokenizer, weights, target))


def _write(model: Any, tokenizer: Any, weights: dict[str, Tensor] | None, target: Path) -> None:
    partial = _partial(target)
    try:
        if is_adapted(model):
            save_trained(model, partial)
        else:
            model.save_pretrained(partial, state_dict=weights)
        tokenizer.save_pretrained(partial)
        checksums.seal(partial)
    except Exception as error:
        raise files.not_written(target, error) from None


def publish(target: Path) -> None:
    """Give a written model its name, whose presence means that the model is whole and was trained as it should be."""
    try:
        _partial(target).rename(target)
    except OSError as error:
        raise files.not_written(target, error) from None


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")
