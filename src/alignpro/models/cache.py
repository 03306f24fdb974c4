"""What a model keeps of the tokens it has read, in memory that is taken once and written in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Further tokens for which room is taken at a time, at least; a quarter of those held where that is more."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values [N, heads, L, D], which grow without being copied at each token.

    Where gradients are computed it is transformers' own, since what one reading saw must not change by the next.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._room: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *given: Any, **named: Any) -> tuple[Tensor, Tensor]:
        """All keys and values, the new [N, heads, T, D] among them; views of the room they stand in."""
        if torch.is_grad_enabled() or not self.get_seq_length():
            self._room = None
            keys, values = super().update(key_states, value_states, *given, **named)
            return keys, values
        held = self.keys.shape[2]
        length = held + key_states.shape[2]
        if self._room is None or self._room[0].shape[2] < length:
            room = length + max(ROOM, held // 4)
            self._room = _wider(self.keys, room), _wider(self.values, room)
        for whole, new in zip(self._room, (key_states, value_states), strict=True):
            whole[:, :, held:length] = new
        self.keys, self.values = (whole[:, :, :length] for whole in self._room)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order."""
        super().reorder_cache(beam_idx)
        self._room = None


def make_cache(config: Any) -> Cache:
    """An empty cache for a model of this configuration: roomy where every layer attends to tokens, whether to all or
    to a window of them."""
    return Cache(layer_class_to_replicate=RoomyLayer) if attends_only(config) else DynamicCache(config=config)


def attends_only(config: Any) -> bool:
    """Whether every layer keeps keys and values of its own, one a token, and nothing else."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    shared = getattr(text, "num_kv_shared_layers", 0)
    return kinds <= {"full_attention", "sliding_attention"} and hasattr(text, "num_attention_heads") and not shared


def _wider(held: Tensor, room: int) -> Tensor:
    """The same [N, heads, L, D] with room for `room` tokens."""
    wide = held.new_empty(*held.shape[:2], room, held.shape[3])
    wide[:, :, : held.shape[2]] = held
    return wide
