"""Memory: kept for the next tensor, where the C library would give it back each time; what is free of it, how much was
held, and what to lower where there is no more."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from alignpro.errors import OutOfMemory, first_line
from alignpro.runtime import processes

_TRIM, _MMAP = -1, -3
"""mallopt's names in glibc: of what lies free before it is given back, and of the size from which memory is mapped."""
KEPT, MAPPED = 1 << 30, 32 << 20
"""Bytes that may lie free, and the size from which memory is mapped anew each time, which is glibc's largest."""

NO_MORE = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory")
"""In what torch says where a processor's memory has run out."""


def keep() -> bool:
    """Keep freed memory, up to KEPT, for allocations below MAPPED; whether the C library has the means.

    A forward and backward pass makes thousands of tensors of some megabytes. Mapped anew, every page of each is a
    fault to the system, which takes up to half of the processor's time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc: macOS, Windows, musl
        return False
    return bool(mallopt(_MMAP, MAPPED) and mallopt(_TRIM, KEPT))


def free(device: torch.device) -> int:
    """Bytes that this process may still take on the device; on processors its share of what its container has left."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    left: int = psutil.virtual_memory().available
    return min(left, _left_in_container()) // processes.on_this_machine()


def peak(device: torch.device) -> int:
    """The most bytes that this process has held at once: on an accelerator in tensors, else in all; 0 if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def lower(setting: str, value: object, doing: str) -> Iterator[None]:
    """Raise OutOfMemory, which names the setting to lower, where memory runs out inside."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or any(m in str(error) for m in NO_MORE)):
            raise
        raise OutOfMemory(
            f"memory ran out while {doing} ({first_line(error)}): lower {setting} (it is {value})"
        ) from error


def _left_in_container(at: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes under the limit of a control group (version 2), its cache of files being given up first."""
    try:
        limit = (at / "memory.max").read_text().strip()
        used = int((at / "memory.current").read_text())
        stat = dict(line.split() for line in (at / "memory.stat").read_text().splitlines())
        return sys.maxsize if limit == "max" else max(0, int(limit) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return sys.maxsize
