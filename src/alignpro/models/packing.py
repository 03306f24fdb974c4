"""Rows that go on from the same query, laid end to end in few wide rows, so that little is padding.

Rewrites of a prompt are of unlike length: padded to the longest of a minibatch, half of what a model reads of them may
be padding. Laid end to end, each sees what was read before it and itself alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
ATTENTION = 6
"""Tokens seen, in widths of the model, that cost a token as much as a layer's products do."""
TRIED = 8
"""Widths that are tried between the longest row and the longest query's rows together."""


@dataclass(frozen=True, slots=True)
class Packing:
    """B wide rows of `width` tokens in which N rows stand: each in wide row `line` [N] from column `start` [N] on;
    `source` [B] is the query that each wide row goes on from."""

    line: Ints
    start: Ints
    source: Ints
    width: int

    @property
    def size(self) -> int:
        """Tokens that are read, padding among them."""
        return len(self.source) * self.width


def pack(source: Sequence[int], lengths: Sequence[int], before: int, model_width: int) -> Packing:
    """Lay N rows of these `lengths`, which go on from the queries `source`, into wide rows at the least cost.

    `before` tokens are seen by every row besides; a model of hidden size `model_width` reads it.
    """
    own: dict[int, list[int]] = {}
    for row in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        own.setdefault(source[row], []).append(row)
    longest = max(1, *lengths)
    most = max(longest, *(sum(lengths[row] for row in rows) for rows in own.values()))
    widths = sorted({int(width) for width in np.linspace(longest, most, TRIED)})
    packings = [_fit(own, lengths, width) for width in widths]
    return min(packings, key=lambda found: found.size * (ATTENTION * model_width + before + found.width))


def _fit(own: dict[int, list[int]], lengths: Sequence[int], width: int) -> Packing:
    """First fit of each query's rows, the longest first, into wide rows of at most `width`."""
    line, start = np.zeros(len(lengths), dtype=np.int64), np.zeros(len(lengths), dtype=np.int64)
    filled: list[int] = []
    sources: list[int] = []
    for source, rows in own.items():
        first = len(filled)
        for row in rows:
            place = next((i for i in range(first, len(filled)) if filled[i] + lengths[row] <= width), len(filled))
            if place == len(filled):
                filled.append(0)
                sources.append(source)
            line[row], start[row] = place, filled[place]
            filled[place] += lengths[row]
    return Packing(line, start, np.array(sources, dtype=np.int64), max(1, *filled))
