"""A trained model written: whole under its name, or not at all."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from alignpro import processes
from alignpro.errors import RunFailure
from alignpro.models.language_model import LanguageModel
from alignpro.models.lora import is_adapted, save_adapter
from alignpro.models.sharding import whole


def write_model(lm: LanguageModel, target: Path) -> None:
    """Plain Hugging Face layout, or that of a peft adapter, under a name of its own until it is published.

    Of several processes the first writes.
    """
    weights = whole(lm.model.state_dict()) if processes.is_sharded() else None
    processes.by_first(lambda: _write(lm, weights, target))


def _write(lm: LanguageModel, weights: dict[str, Tensor] | None, target: Path) -> None:
    partial = _partial(target)
    try:
        if is_adapted(lm.model):
            save_adapter(lm.model, partial)
        else:
            lm.model.save_pretrained(partial, state_dict=weights)
        lm.tokenizer.save_pretrained(partial)
    except Exception as error:
        raise _not_written(target, error) from None


def publish(target: Path) -> None:
    """Give a written model its name, whose presence means that the model is whole and was trained as it should be."""
    try:
        _partial(target).rename(target)
    except OSError as error:
        raise _not_written(target, error) from None


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _not_written(target: Path, error: Exception) -> RunFailure:
    return RunFailure(f"{target} could not be written ({error}); free some space and go on with --resume")
