"""Gradient checkpointing: a layer's insides are computed again in the backward pass instead of being kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alignpro.errors import SettingsError

_CHECKPOINTED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
_KEPT: list[bool] = []


@contextmanager
def checkpointed(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """While open, every layer that transformers marks for it is checkpointed where gradients are computed.

    The model stays in evaluation mode, unlike under transformers' own switch, which works in training mode alone:
    dropout there would make the policy that is updated another than the one that was sampled. Sampling is untouched.
    Raises SettingsError for a model without such layers.
    """
    layers = checkpointable(model) if wanted else []
    for layer in layers:
        layer.forward = _again(layer.forward)
    if layers:
        _CHECKPOINTED.add(model)
    try:
        yield
    finally:
        _CHECKPOINTED.discard(model)
        for layer in layers:
            del layer.forward


def is_checkpointed(model: nn.Module) -> bool:
    """Whether its layers run once more in the backward pass, so that they may keep nothing from the first."""
    return model in _CHECKPOINTED


@contextmanager
def kept() -> Iterator[None]:
    """While open, checkpointed layers keep their insides, as others do."""
    _KEPT.append(True)
    try:
        yield
    finally:
        _KEPT.pop()


def checkpointable(model: nn.Module) -> list[nn.Module]:
    """The layers that transformers marks for it. Raises SettingsError where there are none."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[nn.Module] = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise SettingsError(
            f"gradient_checkpointing: {type(model).__name__} has no layers that transformers can checkpoint; set it to"
            " false"
        )
    return layers


def _again(forward: Callable[..., Any]) -> Callable[..., Any]:
    def computed(*args: Any, **kwargs: Any) -> Any:
        if _KEPT or not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return computed
