"""Memory that is freed is kept for the next tensor, where the C library would give it back to the system each time."""

from __future__ import annotations

import ctypes

_TRIM, _MMAP = -1, -3
"""mallopt's names in glibc: of what lies free before it is given back, and of the size from which memory is mapped."""
KEPT, MAPPED = 1 << 30, 32 << 20
"""Bytes that may lie free, and the size from which memory is mapped anew each time, which is glibc's largest."""


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
