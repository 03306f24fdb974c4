"""Log-probabilities of given actions, for the reference, for KL estimates and inside the PPO update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignpro.models import output_layer, prefixes
from alignpro.models.packing import pack
from alignpro.models.padding import pad, positions
from alignpro.runtime import memory, processes, progress


@dataclass(frozen=True, slots=True)
class Actions:
    """Queries and the tokens answered to them, N rows.

    query [N, Q] left-padded, action [N, T] right-padded, so that both meet in the middle; masks are bool, True on
    tokens.
    """

    query: Tensor
    query_mask: Tensor
    action: Tensor
    action_mask: Tensor

    def __len__(self) -> int:
        return len(self.query)

    def rows(self, index: Tensor) -> Actions:
        """These rows, with the padding columns that none of them needs cut away."""
        query_mask, action_mask = self.query_mask[index], self.action_mask[index]
        first = self.query.shape[1] - int(query_mask.sum(1).max())
        last = int(action_mask.sum(1).max())
        return Actions(
            self.query[index, first:], query_mask[:, first:], self.action[index, :last], action_mask[:, :last]
        )


def collate(
    queries: Sequence[Sequence[int]],
    actions: Sequence[npt.NDArray[np.int64]],
    pad_id: int,
    device: torch.device | str = "cpu",
) -> Actions:
    """Pad N queries and their actions; every query has at least one token."""
    return Actions(*pad(queries, pad_id, "left", device), *pad(actions, pad_id, "right", device))


def forward(
    model: nn.Module, actions: Actions, temperature: float, hidden: bool = False
) -> tuple[Tensor, Tensor | None]:
    """log p(action_t | query, action_<t) [N, T] under softmax(logits / temperature), 0 on padding.

    With `hidden`, also the last hidden state [N, T, H] from which each action was taken, for a value head. What
    queries share is read once, where that is worth it.
    """
    head = output_layer.readable(model)
    scale = output_layer.scale_of(model, head)
    if scale is not None:
        states = _states(_outputs(model, actions, head, logits=False, hidden=True))
        taken = actions.action_mask.flatten().nonzero().squeeze(1)
        read, chosen = states.flatten(0, 1).index_select(0, taken), actions.action.flatten()[taken]
        found = output_layer.chosen_logprobs(read, cast(nn.Linear, head), chosen, temperature / scale)
        flat = found.new_zeros(actions.action.numel()).index_copy(0, taken, found)
        return flat.view(actions.action.shape), states if hidden else None
    parts = list(_outputs(model, actions, head, logits=True, hidden=hidden))
    ends = np.cumsum([part.logits.shape[1] for part in parts]).tolist()
    of_parts = [
        taken_logprobs(part.logits, actions.action[:, end - part.logits.shape[1] : end], temperature)
        for part, end in zip(parts, ends, strict=True)
    ]
    logprobs = torch.cat(of_parts, 1).masked_fill(~actions.action_mask, 0.0)
    return logprobs, _states(parts) if hidden else None


def hidden_states(model: nn.Module, actions: Actions) -> Tensor:
    """The last hidden state [N, T, H] from which each action was taken, without the output layer's cost."""
    return _states(_outputs(model, actions, output_layer.readable(model), logits=False, hidden=True))


class _Part(NamedTuple):
    """Of some of the actions' columns: logits [N, t, V] and last hidden state [N, t, H] before each, as asked for."""

    logits: Tensor
    hidden: Tensor | None


def _outputs(model: nn.Module, actions: Actions, head: nn.Module | None, logits: bool, hidden: bool) -> Iterator[_Part]:
    """The model's output before each action, first columns first. Hidden states are what the output layer `head` reads,
    where there is one."""
    known, row = actions.query.masked_fill(~actions.query_mask, -1).unique(dim=0, return_inverse=True)
    queries = [[i for i in query if i >= 0] for query in known.tolist()]
    count, width = actions.action.shape
    wanted: dict[str, Any] = {"output_hidden_states": True} if hidden and head is None else {}

    def kept(columns: int, length: int | None = None) -> Tensor:
        return _last(columns if logits or head is not None else 1, length or columns, actions.query.device)

    ids, own = actions.action[:, :-1], actions.action_mask[:, 1:]  # the last token of a row need not be read
    packing = None if logits else pack(row.tolist(), own.sum(1).tolist(), actions.query.shape[1], _width(model))
    packed = None if packing is None else packing.size
    shares = prefixes.is_worth(queries, count, width - 1, packed) and prefixes.can_share(model)
    with ExitStack() as stack:
        seen = stack.enter_context(output_layer.reading(head, skip=not logits)) if hidden and head is not None else None
        if not shares:
            mask = torch.cat([actions.query_mask, actions.action_mask[:, :-1]], 1)
            output = model(
                input_ids=torch.cat([actions.query, actions.action[:, :-1]], 1),
                attention_mask=mask.long(),
                position_ids=positions(mask),
                use_cache=False,
                logits_to_keep=kept(width, mask.shape[1]),
                **wanted,
            )
            yield _part(output, seen, width)
            return
        held = prefixes.read(model, queries, **wanted)
        first = _part(held.output, seen, 1)
        yield _Part(first.logits[row], None if first.hidden is None else first.hidden[row])
        if width == 1:
            return
        if packing is None:
            held.take(row)
            output = prefixes.follow(model, ids, held, own, logits_to_keep=kept(width - 1), **wanted)
            yield _part(output, seen, width - 1)
        else:
            wanted["logits_to_keep"] = kept(packing.width)
            output, where = prefixes.follow_packed(model, ids, held, own, packing, **wanted)
            states = _states([_part(output, seen, packing.width)]).flatten(0, 1)
            yield _Part(output.logits, states.index_select(0, where.flatten()).view(count, width - 1, -1))


def _last(count: int, length: int, device: torch.device) -> Tensor:
    """The last `count` columns of `length`, by number: a slice of them would be strided, and the output layer copied
    for each row of it."""
    return torch.arange(length - count, length, device=device)


def _width(model: Any) -> int:
    return int(getattr(model.config.get_text_config(), "hidden_size", 0))


def _part(output: Any, seen: output_layer.Seen | None, width: int) -> _Part:
    if seen is not None and seen.hidden is not None:
        return _Part(output.logits, seen.hidden[:, -width:].to(output.logits.device))
    states = getattr(output, "hidden_states", None)
    return _Part(output.logits, None if states is None else states[-1][:, -width:])


def _states(parts: Iterable[_Part]) -> Tensor:
    return torch.cat([part.hidden for part in parts if part.hidden is not None], 1)


class _Taken(torch.autograd.Function):
    """log softmax(logits / temperature) [M] of the tokens taken [M], from logits [M, V].

    No second tensor of that size is made, but the gradient: rows are gone through a few at a time, which stay in the
    processor's cache.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, token: Tensor, temperature: float) -> Tensor:
        normaliser = torch.cat([(rows.float() / temperature).logsumexp(-1) for rows in logits.split(_at_once(logits))])
        ctx.save_for_backward(logits, token, normaliser)
        ctx.temperature = temperature
        return logits.gather(-1, token[:, None]).squeeze(-1).float() / temperature - normaliser

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits, token, normaliser = ctx.saved_tensors
        grad = torch.empty_like(logits)
        weights = (grads[0] / ctx.temperature)[:, None]
        for out, rows, taken, whole, weight in zip(
            *(x.split(_at_once(x)) for x in (grad, logits, token[:, None], normaliser[:, None], weights)), strict=True
        ):
            share = (rows.float() / ctx.temperature).sub_(whole).exp_().mul_(-weight)
            out.copy_(share.scatter_add_(1, taken, weight))
        return grad, None, None


def _at_once(rows: Tensor) -> int:
    """Rows of logits that are gone through at a time; on a GPU more, since kernels' launches cost more than they do."""
    return 1024 if rows.is_cuda else 32


def taken_logprobs(logits: Tensor, action: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / temperature) [N, t] of the actions [N, t], from logits [N, t, V]."""
    taken: Tensor = _Taken.apply(logits.flatten(0, 1), action.flatten(), temperature)
    return taken.view(action.shape)


@torch.no_grad()
def score(
    model: nn.Module,
    queries: Sequence[Sequence[int]],
    actions: Sequence[npt.NDArray[np.int64]],
    pad_id: int,
    temperature: float = 1.0,
    batch_size: int = 128,
    setting: str = "prompter.batch_size",
) -> list[npt.NDArray[np.float32]]:
    """Log-probabilities of each action's tokens, one array [T_i] a row; computed in batches of like length, which
    several processes share. `setting` is what `batch_size` is called where memory runs out."""
    device = next(model.parameters()).device
    own = [tuple(query) for query in queries]
    shared = 2 * len(set(own)) <= len(own)  # then rows of one query stand together, where it is read once for them

    def place(i: int) -> tuple[Any, ...]:
        return (len(own[i]), own[i], len(actions[i])) if shared else (len(own[i]) + len(actions[i]),)

    order = sorted(range(len(queries)), key=place)

    def compute(mine: Sequence[int]) -> list[npt.NDArray[np.float32]]:
        scored: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(mine), batch_size):
            rows = mine[start : start + batch_size]
            batch = collate([queries[i] for i in rows], [actions[i] for i in rows], pad_id, device)
            with memory.lower(setting, batch_size, "scoring"):
                logprobs = forward(model, batch, temperature)[0].cpu().numpy()
            scored += [logprobs[row, : len(actions[i])] for row, i in enumerate(rows)]
            progress.tell(len(scored), len(mine), "likelihoods")
        return scored

    result: list[npt.NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(queries)
    for i, row in zip(order, processes.spread(order, compute), strict=True):
        result[i] = row
    return result
