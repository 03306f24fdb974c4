"""Token rows of unlike length as one tensor and its mask, and how long a row may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


def pad(
    rows: Sequence[Any], pad_id: int, side: Literal["left", "right"], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Ids [N, T] and mask [N, T] (bool, True on tokens), T the longest row's length and at least 1."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)[:, None]
    width = max(1, *lengths.flat) if len(rows) else 1
    places = np.arange(width)
    mask = places >= width - lengths if side == "left" else places < lengths
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    if mask.any():
        ids[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def positions(mask: Tensor) -> Tensor:
    """Position ids [N, T] that count tokens and not padding."""
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def context_of(config: Any) -> int:
    """Tokens that a row may have, of the config of a model's text part.

    Of LongRoPE those of its shorter reading: past them a row changes how the rows beside it, and its own first tokens,
    are read, so that no two batches would agree.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]  # one, or one for each kind of layer
    short = [k.get("original_max_position_embeddings") for k in kinds if k.get("rope_type") == "longrope"]
    return min(int(limit) for limit in (getattr(config, "max_position_embeddings", None), *short, 1 << 30) if limit)
