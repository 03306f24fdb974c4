"""One seed, many independent streams.

Every random draw takes a seed derived from the run's seed and from what the draw is for. A step that is repeated after
a crash therefore draws exactly what it would have drawn, whatever ran before it in the process.
"""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(seed, "rewrite", step)`.

    Different purposes give unrelated seeds; equal ones the same seed on every machine and Python version.
    """
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
