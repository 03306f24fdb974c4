"""The batched sampler: many continuations of many prompts, each prompt read once, finished rows dropped.

What makes it quick: prompts of like length share a batch, so little is padded; a prompt with n continuations is
prefilled once and its cache rows copied; rows that ended leave the batch.

What makes it repeatable: row i draws its tokens from its own uniforms, by inverting the cumulative distribution, so the
result does not depend on batch size or on the other rows.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignpro.config import Sampling
from alignpro.models import batches, prefixes
from alignpro.models.cache import make_cache
from alignpro.models.padding import pad, positions
from alignpro.models.sharding import gathered
from alignpro.runtime import processes, progress
from alignpro.types import Generation, Seed

Ended = Callable[[int, Generation], None]
COMPACT_BELOW = 0.8
"""Share of rows still running under which the finished ones are taken out of the batch."""
AT_ONCE = 1 << 20
"""Logits from which tokens are drawn at a time."""
NOT_FINITE = "the model's logits are not finite"
"""The failure of a text that broke off where no token could be drawn."""


def sample(
    model: nn.Module,
    queries: Sequence[Sequence[int]],
    counts: Sequence[int],
    sampling: Sampling,
    eos_ids: Collection[int],
    pad_id: int,
    seed: Seed,
    batch_size: int = 128,
    ended: Ended | None = None,
) -> list[list[Generation]]:
    """`counts[i]` continuations of `queries[i]`, as token ids and their log-probabilities; `text` is left empty.

    `logprobs` are log-softmax(logits / temperature) over the whole vocabulary at each sampled token, the closing
    end-of-text token included; with top_p or top_k they are those before truncation. `finish` is "length" where
    `max_new_tokens` came before an end-of-text token. A row whose logits hold nan or infinity, so that they are no
    distribution, has a `failure` and no tokens. `ended` is called with the number of each row, counted through
    all `counts`, as soon as it has ended without one, but in a batch that was kept; it changes no draw. With a seed for
    each query its rows do not depend on the other queries. Several processes share the rows.
    """
    total, steps = sum(counts), sampling.max_new_tokens
    streams = zip(seed, counts, strict=True) if isinstance(seed, Sequence) else [(seed, total)]
    drawn = [torch.rand(rows, steps, generator=torch.Generator().manual_seed(one)) for one, rows in streams]
    noise = torch.cat([torch.empty(0, steps), *drawn])
    flat = np.repeat(np.arange(len(queries)), counts).tolist()
    order = sorted(range(total), key=lambda row: (len(queries[flat[row]]), flat[row], row))

    @torch.inference_mode()
    def draw(mine: Sequence[int]) -> list[Generation]:
        drawn: list[Generation] = []
        for start in range(0, len(mine), batch_size):
            rows = list(mine[start : start + batch_size])
            unique, inverse = np.unique([flat[row] for row in rows], return_inverse=True)
            asked, luck, ends = [list(map(int, queries[i])) for i in unique], noise[rows], sorted(eos_ids)
            told = functools.partial(_tell, ended, rows) if ended is not None else None
            batch = functools.partial(
                sample_batch, model, asked, torch.as_tensor(inverse), luck, sampling, ends, pad_id, told
            )
            decides = (asked, inverse, luck.numpy(), sampling.model_dump(), ends, pad_id)
            drawn += batches.found_or(batch, model, *decides)
            progress.tell(start + len(rows), len(mine), progress.TEXTS)
        return drawn

    done: list[Generation] = [Generation("")] * total
    with gathered(model):
        for row, generation in zip(order, processes.spread(order, draw), strict=True):
            done[row] = generation
    ends = np.cumsum(counts)
    return [done[end - count : end] for end, count in zip(ends, counts, strict=True)]


def sample_batch(
    model: nn.Module,
    queries: Sequence[Sequence[int]],
    inverse: Tensor,
    noise: Tensor,
    sampling: Sampling,
    eos_ids: Sequence[int],
    pad_id: int,
    ended: Ended | None = None,
) -> list[Generation]:
    """A continuation of `queries[inverse[i]]` for each row i of `noise` [N, T], in one batch of this process."""
    device = next(model.parameters()).device
    n = len(inverse)
    inverse, noise = inverse.to(device), noise.to(device)
    ends = torch.as_tensor(eos_ids, dtype=torch.long, device=device)
    reading = _Shared if prefixes.is_worth(queries, len(queries), 0) and prefixes.can_share(model) else _RowByRow
    text = reading(model, queries, pad_id)
    logits = text.logits[inverse]
    if n != len(queries) or not torch.equal(inverse, torch.arange(n, device=device)):
        text.keep(inverse)

    tokens = torch.full((n, sampling.max_new_tokens), pad_id, device=device)
    logprobs = torch.zeros(n, sampling.max_new_tokens, device=device)
    lengths = torch.full((n,), sampling.max_new_tokens, device=device)
    stopped = torch.zeros(n, dtype=torch.bool, device=device)
    broken = torch.zeros(n, dtype=torch.bool, device=device)
    row = torch.arange(n, device=device)  # where each row of the shrinking batch stood at first
    for step in range(sampling.max_new_tokens):
        token, logprob = _draw(logits, noise[row, step], sampling)
        broken[row] |= ~logprob.isfinite() & ~stopped[row]
        running = ~stopped[row] & ~broken[row]
        tokens[row, step] = torch.where(running, token, pad_id)
        logprobs[row, step] = torch.where(running, logprob, 0.0)
        ending = running & torch.isin(token, ends)
        lengths[row[ending]] = step + 1
        stopped[row[ending]] = True
        if ended is not None:
            for i in row[ending].tolist():
                ended(i, _generation(tokens[i], logprobs[i], step + 1, True))
        keep = (running & ~ending).nonzero().squeeze(1)
        if len(keep) == 0 or step + 1 == sampling.max_new_tokens:
            break
        if len(keep) <= COMPACT_BELOW * len(row):
            text.keep(keep)
            row, token = row[keep], token[keep]
        logits = text.go_on(token)

    tokens, logprobs = tokens.cpu(), logprobs.cpu()
    made = [
        Generation("", failure=NOT_FINITE) if failed else _generation(tokens[i], logprobs[i], length, stop)
        for i, (length, stop, failed) in enumerate(
            zip(lengths.tolist(), stopped.tolist(), broken.tolist(), strict=True)
        )
    ]
    for i, generation in enumerate(made):
        if ended is not None and generation.finish == "length" and not generation.failure:
            ended(i, generation)
    return made


class _RowByRow:
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


class _Shared:
    """Queries whose common head was read once; otherwise as _RowByRow."""

    def __init__(self, model: Any, queries: Sequence[Sequence[int]], pad_id: int) -> None:
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


def _tell(ended: Ended, rows: Sequence[int], i: int, generation: Generation) -> None:
    ended(rows[i], generation)


def _generation(tokens: Tensor, logprobs: Tensor, length: int, stopped: bool) -> Generation:
    return Generation(
        "", "stop" if stopped else "length", tokens[:length].cpu().numpy(), logprobs[:length].cpu().numpy()
    )


def _draw(logits: Tensor, noise: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Tokens [N] at the quantiles `noise` [N] of the (truncated) distribution, and their untruncated
    log-probabilities, nan where the logits [N, V] are no distribution; some rows at a time, which stay in the
    processor's cache."""
    rows = max(1, AT_ONCE // logits.shape[1])
    drawn = [_draw_rows(*some, sampling) for some in zip(logits.split(rows), noise.split(rows), strict=True)]
    tokens, logprobs = zip(*drawn, strict=True)
    return torch.cat(tokens), torch.cat(logprobs)


def _draw_rows(logits: Tensor, noise: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    logits = logits.float() / sampling.temperature
    if sampling.top_p < 1 or 0 < sampling.top_k < logits.shape[-1]:
        normaliser = logits.logsumexp(-1, keepdim=True)
        cumulative = _truncated(logits - normaliser, sampling).exp().cumsum(-1)
    else:
        peak = logits.amax(-1, keepdim=True)
        cumulative = (logits - peak).exp_().cumsum_(-1)
        normaliser = peak + cumulative[:, -1:].log()
    whole = cumulative[:, -1:]
    wanted = torch.minimum(
        noise.unsqueeze(1) * whole, whole.nextafter(torch.zeros_like(whole))
    )  # never rounded past it
    token = torch.searchsorted(cumulative, wanted, right=True).clamp(max=logits.shape[-1] - 1)
    return token.squeeze(1), (logits.gather(1, token) - normaliser).squeeze(1)


def _truncated(logprobs: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities [N, V], those outside top_k and top_p at minus infinity."""
    kept = logprobs
    if sampling.top_k and sampling.top_k < logprobs.shape[-1]:
        threshold = kept.topk(sampling.top_k, dim=-1).values[:, -1:]
        kept = kept.masked_fill(kept < threshold, -torch.inf)
    if sampling.top_p < 1:
        ranked, index = kept.log_softmax(-1).sort(dim=-1, descending=True)
        before = ranked.exp().cumsum(-1) - ranked.exp()
        kept = kept.masked_fill(
            torch.zeros_like(kept, dtype=torch.bool).scatter(1, index, before >= sampling.top_p), -torch.inf
        )
    return kept
