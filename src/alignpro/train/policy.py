"""What a training changes and what it is measured against: the policy and its reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from alignpro.config import LoraSettings, TrainSettings
from alignpro.errors import SettingsError
from alignpro.models.checkpointing import checkpointed
from alignpro.models.language_model import LanguageModel
from alignpro.models.lora import AdapterOff, adapted, check_targets
from alignpro.models.sharding import shard
from alignpro.rng import derive
from alignpro.runtime import processes


@contextmanager
def trainable(
    lm: LanguageModel, lora: LoraSettings | None, settings: TrainSettings, where: str, seed: int
) -> Iterator[tuple[LanguageModel, LanguageModel]]:
    """Policy and reference: a copy and the model itself, or the model with an adapter on it and off.

    With an adapter `lm` must not be used while this is open, and is as it was afterwards. `where` names the section of
    `lora`. Raises SettingsError for weights that are to be trained and cannot be so.
    """
    if settings.steps:
        check_trainable(lm.model, lora, where)
    if lora is None:
        policy = copy_of(lm)
        shard(policy.model)
        with checkpointed(policy.model, settings.gradient_checkpointing):
            yield policy, lm
        return
    fresh = adapted(lm.model, lora, where, derive(seed, "lora"))
    with fresh as model, checkpointed(model, settings.gradient_checkpointing):
        yield replace(lm, model=model), replace(lm, model=AdapterOff(model))


def copy_of(lm: LanguageModel) -> LanguageModel:
    """The same model with weights of its own, free to be trained."""
    model = copy.deepcopy(lm.model)
    model.requires_grad_(True)
    return replace(lm, model=model)


def check_trainable(model: Any, lora: LoraSettings | None, where: str) -> None:
    """Raise SettingsError for weights that cannot be trained so."""
    if model.dtype == torch.float16:
        raise SettingsError(
            "dtype float16: gradients leave its range; train with dtype=bfloat16, or float32 where there is none"
        )
    if lora is not None and processes.is_sharded():
        raise SettingsError(
            f"{where}: an adapter is not split by FSDP, and what training keeps of it is small; launch with --multi_gpu"
        )
    if lora is not None:
        check_targets(model, lora, where)
    elif len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1:
        raise SettingsError(
            f"device_map over several devices: all weights cannot be trained there; set {where}.rank=16, which trains"
            " an adapter"
        )
