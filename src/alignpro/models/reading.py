"""Queries that a model reads, and how it goes on from them by a token of each row at a time."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignpro.models import decoder, prefixes
from alignpro.models.cache import make_cache
from alignpro.models.padding import pad, positions

SHORT = 16
"""Tokens of a common head under which a pass of its own is not worth its while."""


class Rows(Protocol):
    """Rows that are under way."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows [M], in this order, one more than once where it is to have several continuations."""

    def go_on(self, token: Tensor) -> Tensor:
        """The logits [N, V] after one more token [N] of each row."""


class Reader:
    """Reads `queries`, some at a time; what is common to all of them once.

    Where `joins`, rows that were read later can join those that are under way.
    """

    def __init__(self, model: Any, queries: Sequence[Sequence[int]], pad_id: int) -> None:
        self._model, self._pad_id = model, pad_id
        self.joins = decoder.is_plain(model) and prefixes.can_share(model)
        if self.joins:
            head = prefixes.head_of(queries)
            self._decoder, self._head = decoder.Decoder(model), head if head >= SHORT else 0
            self._begun = prefixes.begin(model, queries[0][: self._head])

    def read(self, queries: Sequence[Sequence[int]]) -> tuple[Rows, Tensor]:
        """The rows of some of the queries, each different, and the logits [N, V] after their last tokens."""
        if self.joins:
            held = prefixes.read(self._model, queries, self._begun)
            return self._decoder.begin(held, self._head), held.output.logits[:, -1]
        worth = prefixes.is_worth(queries, len(queries), 0) and prefixes.can_share(self._model)
        rows = Shared(self._model, queries) if worth else RowByRow(self._model, queries, self._pad_id)
        return rows, rows.logits

    def join(self, rows: Rows, others: Rows) -> None:
        """Let rows that this has read go on after those that are under way, which are its own too."""
        if not (isinstance(rows, decoder.Rows) and isinstance(others, decoder.Rows)):
            raise TypeError(f"rows of {type(rows).__name__} cannot be joined")
        rows.join(others)


class RowByRow:
    """Queries that were read side by side, each whole; `logits` [N, V] are those after their last tokens."""

    def __init__(self, model: Any, queries: Sequence[Sequence[int]], pad_id: int) -> None:
        device = next(model.parameters()).device
        ids, self._mask = pad(queries, pad_id, "left", device)
        self._model, self._cache, self._position = model, make_cache(model.config), self._mask.sum(1)
        self._recurrent, self._padded = _is_recurrent(model), not bool(self._mask.all())
        last = torch.tensor([ids.shape[1] - 1], device=device)
        mask = self._mask.long() if self._padded else None
        self.logits = self._read(ids, mask, positions(self._mask), logits_to_keep=last)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, in this order, one more than once where it is to have several continuations."""
        self._cache.reorder_cache(rows)
        self._mask, self._position = self._mask[rows], self._position[rows]

    def go_on(self, token: Tensor) -> Tensor:
        """The logits [N, V] after one more token [N] of each row."""
        mask = None
        if self._padded and not self._recurrent:
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], 1)
            mask = self._mask.long()
        self._position = self._position + 1
        return self._read(token.unsqueeze(1), mask, self._position.unsqueeze(1) - 1)

    def _read(self, ids: Tensor, mask: Tensor | None, position: Tensor, **wanted: Any) -> Tensor:
        carried = {"cache_params" if self._recurrent else "past_key_values": self._cache}
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=position, **carried, use_cache=True, **wanted
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class Shared:
    """Queries whose common head was read once; otherwise as RowByRow."""

    def __init__(self, model: Any, queries: Sequence[Sequence[int]]) -> None:
        self._model, self._held = model, prefixes.read(model, queries)
        self.logits: Tensor = self._held.output.logits[:, -1]
        self.keep = self._held.take

    def go_on(self, token: Tensor) -> Tensor:
        logits: Tensor = prefixes.follow(self._model, token.unsqueeze(1), self._held).logits[:, -1]
        return logits


def _is_recurrent(model: nn.Module) -> bool:
    """Whether what the model has read is a state alone (Mamba and its kin), in which there is no padding."""
    own = next((part for part in model.modules() if isinstance(part, PreTrainedModel)), model)
    return "cache_params" in inspect.signature(own.forward).parameters
