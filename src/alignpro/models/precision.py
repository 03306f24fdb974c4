"""What numbers a model computes in: those of `dtype`, which by default are bfloat16 where hardware computes in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""What Linux calls the instructions by which a processor multiplies in bfloat16."""
NARROW = 256
"""Hidden size under which a processor gains nothing by it."""
_WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")


def dtype_of(name: str, device: str, config: Mapping[str, Any] | None = None) -> torch.dtype:
    """The precision of a dtype setting: auto is bfloat16 where the device computes in it, else float32; float32, too,
    of a model that its `config` tells to be narrow, on a processor."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    wide = _width(config or {}) >= NARROW
    return torch.bfloat16 if device == "cpu" and wide and instruction() else torch.float32


def of_trained(name: str, device: str, adapter: bool = False) -> str:
    """The dtype setting of a model that is trained, and of its reference: on a processor auto is float32, but of the
    frozen base of an adapter what it is of models that answer."""
    return "float32" if name == "auto" and device == "cpu" and not adapter else name


def instruction(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The instruction by which this processor multiplies in bfloat16; None without, or where that is not known."""
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return None
    return next((flag for flag in BFLOAT16 if flag in flags), None)


def told(device: str) -> str:
    """What dtype=auto is on the device, and why."""
    if device.startswith("cuda"):
        computes = torch.cuda.is_bf16_supported()
        return "bfloat16, which the GPU computes in" if computes else "float32, since the GPU computes in no bfloat16"
    if device != "cpu":
        return f"float32, as always on {device}"
    if (found := instruction()) is None:
        return f"float32, since the processor has none of {', '.join(BFLOAT16)}: bfloat16 would be slower"
    return (
        f"bfloat16, by the processor's {found}, for models that answer and score, and under adapters; float32 for"
        f" weights that are trained, their reference, and models narrower than {NARROW}"
    )


def _width(config: Mapping[str, Any]) -> int:
    inner = config.get("text_config")
    own = inner if isinstance(inner, Mapping) else config
    return int(next((own[name] for name in _WIDTHS if isinstance(own.get(name), int)), NARROW))
