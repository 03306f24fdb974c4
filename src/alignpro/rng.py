"""One seed, many independent streams.

Every random draw takes a seed derived from the run's seed and from what the draw is for. A step that is repeated after
a crash therefore draws exactly what it would have drawn, whatever ran before it in the process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import overload


@overload
def derive(seed: int, *purpose: str | int) -> int: ...


@overload
def derive(seed: int | Sequence[int], *purpose: str | int) -> int | Sequence[int]: ...


def derive(seed: int | Sequence[int], *purpose: str | int) -> int | Sequence[int]:
    """A 63-bit seed for one purpose, e.g. `derive(seed, "rewrite", step)`.

    Different purposes give unrelated seeds; equal ones the same seed on every machine and Python version. Of
    several seeds one is derived from each.
    """
    if isinstance(seed, Sequence):
        return [derive(one, *purpose) for one in seed]
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
