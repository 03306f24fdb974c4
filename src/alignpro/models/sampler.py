"""The batched sampler: many continuations of many prompts, each prompt read once, finished rows replaced.

What makes it quick: prompts of like length share a batch, so little is padded; a prompt with n continuations is
prefilled once and its cache rows copied; rows that ended leave the batch, and rows that wait enter it.

What makes it repeatable: row i draws its tokens from its own uniforms, by inverting the cumulative distribution, so the
result does not depend on batch size or on the other rows.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from alignpro.config import Sampling
from alignpro.models import batches
from alignpro.models.reading import Reader, Rows
from alignpro.models.sharding import gathered
from alignpro.runtime import processes, progress
from alignpro.types import Generation, Seed

Ended = Callable[[int, Generation], None]
STRETCH = 4
"""Batches whose rows enter one another's places; what is kept of a stage that is killed is so many at a time."""


@dataclass(frozen=True)
class Pace:
    """How often a batch changes its rows, and how much of it is drawn at a time."""

    compact_below: float
    """Share of rows still running under which the finished ones are taken out of the batch."""
    enter_from: float
    """Share of all places from which on, when they are free, rows that wait are read and enter them."""
    at_once: int
    """Logits from which tokens are drawn at a time."""
    likeliest: int
    """Tokens of a row among which those that top_p leaves are looked for first."""


ON_CPU = Pace(0.8, 0.25, 1 << 20, 128)
"""A row that ended costs what another does, a few rows' logits stay in the processor's cache, and sorting is dear."""
ON_GPU = Pace(0.5, 0.5, 1 << 26, 1 << 30)
"""A token takes the time of reading the weights, for few rows as for many, and new rows want a new graph."""
NOT_FINITE = "the model's logits are not finite"
"""The failure of a text that broke off where no token could be drawn."""
_BROKEN = Generation("", failure=NOT_FINITE)


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
    query = [queries[i] for i, count in enumerate(counts) for _ in range(count)]
    order = sorted(range(total), key=lambda row: (len(query[row]), *query[row], row))
    ends = sorted(eos_ids)

    def draw(mine: Sequence[int]) -> list[Generation]:
        drawn: list[Generation] = []
        for start in range(0, len(mine), STRETCH * batch_size):
            rows = mine[start : start + STRETCH * batch_size]
            asked, luck = [list(map(int, query[row])) for row in rows], noise[rows]
            told = functools.partial(_tell, ended, rows, itertools.count(start + 1), len(mine))
            stretch = functools.partial(sample_rows, model, asked, luck, sampling, ends, pad_id, batch_size, told)
            drawn += batches.found_or(stretch, model, asked, luck.numpy(), sampling.model_dump(), ends, pad_id)
            progress.tell(len(drawn), len(mine), progress.TEXTS)
        return drawn

    result: list[Generation] = [Generation("")] * total
    with gathered(model):
        for row, generation in zip(order, processes.spread(order, draw), strict=True):
            result[row] = generation
    stops = np.cumsum(counts)
    return [result[stop - count : stop] for stop, count in zip(stops, counts, strict=True)]


@torch.inference_mode()
def sample_rows(
    model: nn.Module,
    queries: Sequence[Sequence[int]],
    noise: Tensor,
    sampling: Sampling,
    eos_ids: Sequence[int],
    pad_id: int,
    at_once: int,
    ended: Ended | None = None,
) -> list[Generation]:
    """A continuation of each query, which may stand there more than once, by its row of `noise` [N, T]; `ended` is told
    of each as it ends. `at_once` are under way together; where the model lets them, rows that wait enter the places of
    those that left."""
    device = next(model.parameters()).device
    noise, ends = noise.to(device), torch.as_tensor(eos_ids, dtype=torch.long, device=device)
    n, most = noise.shape
    tokens = torch.full((n, most), pad_id, device=device)
    logprobs = torch.zeros(n, most, device=device)
    lengths = torch.zeros(n, dtype=torch.long, device=device)
    made = [_BROKEN] * n
    reader, waiting, pace = Reader(model, queries, pad_id), 0, ON_CPU if device.type == "cpu" else ON_GPU
    while waiting < n:
        entering = range(waiting, min(n, waiting + at_once))
        rows, logits = _enter(reader, [queries[i] for i in entering])
        waiting, row = entering.stop, torch.tensor(entering, device=device)
        running = torch.ones_like(row, dtype=torch.bool)
        while True:
            at = lengths[row]
            token, logprob = _draw(logits, noise[row, at.clamp(max=most - 1)], sampling, pace)
            drawn = running & logprob.isfinite()
            place = row, at.clamp(max=most - 1)
            tokens[place], logprobs[place] = token.where(drawn, tokens[place]), logprob.where(drawn, logprobs[place])
            lengths[row] = at + drawn
            stopping = drawn & torch.isin(token, ends)
            ending = running & (stopping | ~drawn | (at + 1 == most))
            running &= ~ending
            told = torch.stack([row, *(each.long() for each in (ending, stopping, drawn, running))]).cpu()
            for i, _, stopped, fine, _ in told[:, told[1] > 0].T.tolist():
                made[i] = _generation(tokens[i, : lengths[i]], logprobs[i], stopped) if fine else _BROKEN
                if ended is not None:
                    ended(i, made[i])
            keep = told[4].nonzero().squeeze(1)
            room = at_once - len(keep)
            joining = waiting < n and reader.joins and room >= pace.enter_from * at_once
            if not len(keep):
                break
            if joining or len(keep) <= pace.compact_below * len(row):
                keep = keep.to(device)
                rows.keep(keep)
                row, token, running = row[keep], token[keep], running[keep]
            logits = rows.go_on(token)
            if joining:
                entering = range(waiting, min(n, waiting + room))
                others, first = _enter(reader, [queries[i] for i in entering])
                reader.join(rows, others)
                waiting, more = entering.stop, torch.tensor(entering, device=device)
                row, logits = torch.cat([row, more]), torch.cat([logits, first])
                running = torch.cat([running, torch.ones_like(more, dtype=torch.bool)])
    return made


def _tell(
    ended: Ended | None, rows: Sequence[int], count: Iterator[int], total: int, i: int, generation: Generation
) -> None:
    if ended is not None and not generation.failure:
        ended(rows[i], generation)
    progress.tell(next(count), total, progress.TEXTS)


def _enter(reader: Reader, queries: Sequence[Sequence[int]]) -> tuple[Rows, Tensor]:
    """Rows that have read these queries, each different one once, and the logits [N, V] after them."""
    number: dict[tuple[int, ...], int] = {}
    of = [number.setdefault(tuple(query), len(number)) for query in queries]
    rows, logits = reader.read(list(number))
    if len(number) < len(of):
        which = torch.tensor(of, device=logits.device)
        rows.keep(which)
        logits = logits[which]
    return rows, logits


def _generation(tokens: Tensor, logprobs: Tensor, stopped: bool) -> Generation:
    end = len(tokens)
    return Generation("", "stop" if stopped else "length", tokens.cpu().numpy(), logprobs[:end].cpu().numpy())


def _draw(logits: Tensor, noise: Tensor, sampling: Sampling, pace: Pace = ON_CPU) -> tuple[Tensor, Tensor]:
    """Tokens [N] at the quantiles `noise` [N] of the (truncated) distribution, and their untruncated
    log-probabilities, nan where the logits [N, V] are no distribution."""
    rows = max(1, pace.at_once // logits.shape[1])
    drawn = [_draw_rows(*some, sampling, pace) for some in zip(logits.split(rows), noise.split(rows), strict=True)]
    tokens, logprobs = zip(*drawn, strict=True)
    return torch.cat(tokens), torch.cat(logprobs)


def _draw_rows(logits: Tensor, noise: Tensor, sampling: Sampling, pace: Pace) -> tuple[Tensor, Tensor]:
    logits = logits.float() / sampling.temperature
    if sampling.top_p < 1 or 0 < sampling.top_k < logits.shape[-1]:
        normaliser = logits.logsumexp(-1, keepdim=True)
        token = _truncated(logits - normaliser, noise, sampling, pace.likeliest)
    else:
        peak = logits.amax(-1, keepdim=True)
        cumulative = (logits - peak).exp_().cumsum_(-1)
        normaliser = peak + cumulative[:, -1:].log()
        token = _quantile(cumulative, noise)
    return token.squeeze(1), (logits.gather(1, token) - normaliser).squeeze(1)


def _quantile(cumulative: Tensor, noise: Tensor) -> Tensor:
    """Where [N, 1] the share `noise` [N] of its whole is in a cumulative distribution [N, V]."""
    whole = cumulative[:, -1:]
    wanted = torch.minimum(
        noise.unsqueeze(1) * whole, whole.nextafter(torch.zeros_like(whole))
    )  # never rounded past it
    return torch.searchsorted(cumulative, wanted, right=True).clamp(max=cumulative.shape[-1] - 1)


def _truncated(logprobs: Tensor, noise: Tensor, sampling: Sampling, likeliest: int) -> Tensor:
    """Tokens [N, 1] at the quantiles `noise` of what top_k and top_p leave of log-probabilities [N, V]. The likeliest
    are sorted, so many of them first, and more of them in rows where more are left."""
    vocabulary = logprobs.shape[-1]
    most = max(likeliest, sampling.top_k + 1)
    ranked, index = logprobs.topk(min(most, vocabulary), dim=-1)
    inside = torch.ones_like(ranked, dtype=torch.bool)
    if 0 < sampling.top_k < vocabulary:
        inside = ranked >= ranked[:, sampling.top_k - 1 : sampling.top_k]
        ranked = ranked.masked_fill(~inside, -torch.inf).log_softmax(-1)
    if sampling.top_p < 1:
        shares = ranked.exp()
        inside &= shares.cumsum(-1) - shares < sampling.top_p
    index, order = index.sort(-1)
    shares = ranked.exp().where(inside, 0.0).gather(1, order)
    token = index.gather(1, _quantile(shares.cumsum(-1), noise))
    more = inside[:, -1].nonzero().squeeze(1) if most < vocabulary else ()
    if len(more):
        token[more] = _truncated(logprobs[more], noise[more], sampling, 8 * most)
    return token
