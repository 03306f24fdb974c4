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
from transformers import DynamicCache, PreTrainedModel

from alignpro.config import Sampling
from alignpro.models import batches
from alignpro.models.padding import pad, positions
from alignpro.models.sharding import gathered
from alignpro.runtime import processes, progress
from alignpro.types import Generation, Seed

Ended = Callable[[int, Generation], None]
COMPACT_BELOW = 0.8
"""Share of rows still running under which the finished ones are taken out of the batch."""
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
    ids, mask = pad(queries, pad_id, "left", device)
    inverse, noise = inverse.to(device), noise.to(device)
    padded = not bool(mask.all())
    ends = torch.as_tensor(eos_ids, dtype=torch.long, device=device)

    cache: Any = DynamicCache(config=model.config)
    carried = {"past_key_values": cache}
    if recurrent := _is_recurrent(model):
        carried = {"cache_params": cache}
    output: Any = model(
        input_ids=ids,
        attention_mask=mask.long() if padded else None,
        position_ids=positions(mask),
        **carried,
        use_cache=True,
        logits_to_keep=1,
    )
    if n != len(queries) or not torch.equal(inverse, torch.arange(n, device=device)):
        cache.reorder_cache(inverse)
    logits, mask = output.logits[inverse, -1], mask[inverse]
    position = mask.sum(1)

    tokens = torch.full((n, sampling.max_new_tokens), pad_id, device=device)
    logprobs = torch.zeros(n, sampling.max_new_tokens, device=device)
    lengths = torch.full((n,), sampling.max_new_tokens, device=device)
    stopped = torch.zeros(n, dtype=torch.bool, device=device)
    broken = torch.zeros(n, dtype=torch.bool, device=device)
    row = torch.arange(n, device=device)  # where each row of the shrinking batch stood at first
    for step in range(sampling.max_new_tokens):
        token, logprob = _draw(logits.float(), noise[row, step], sampling)
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
            cache.reorder_cache(keep)
            row, token, mask, position = row[keep], token[keep], mask[keep], position[keep]
        if padded and not recurrent:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        output = model(
            input_ids=token.unsqueeze(1),
            attention_mask=mask.long() if padded and not recurrent else None,
            position_ids=position.unsqueeze(1),
            **carried,
            use_cache=True,
        )
        logits, position = output.logits[:, -1], position + 1

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
    log-probabilities, nan where the logits are no distribution."""
    logprobs = (logits / sampling.temperature).log_softmax(-1)
    kept = logprobs
    if sampling.top_k and sampling.top_k < logits.shape[-1]:
        threshold = kept.topk(sampling.top_k, dim=-1).values[:, -1:]
        kept = kept.masked_fill(kept < threshold, -torch.inf)
    if sampling.top_p < 1:
        ranked, index = kept.log_softmax(-1).sort(dim=-1, descending=True)
        before = ranked.exp().cumsum(-1) - ranked.exp()
        kept = kept.masked_fill(
            torch.zeros_like(kept, dtype=torch.bool).scatter(1, index, before >= sampling.top_p), -torch.inf
        )
    cumulative = kept.exp().cumsum(-1)
    whole = cumulative[:, -1:]
    wanted = torch.minimum(
        noise.unsqueeze(1) * whole, whole.nextafter(torch.zeros_like(whole))
    )  # never rounded past it
    token = torch.searchsorted(cumulative, wanted, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
    return token, logprobs.gather(1, token.unsqueeze(1)).squeeze(1)
