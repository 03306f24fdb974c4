"""A prefix that rows share is read once: first the head common to all, then each different query, then what follows.

Queries begin with the same meta-prompt, and the rewrites of a prompt share all of theirs. The keys and values of a
shared part serve all its rows; gradients are those of the rows one by one, the prefix's being the sums of its rows'.
Who reads this way gives every token its own position and says which tokens it sees, so that nothing rests on where
padding lies.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from alignpro.models.cache import attends_only, make_cache
from alignpro.models.checkpointing import is_checkpointed
from alignpro.models.packing import Packing
from alignpro.models.padding import pad
from alignpro.runtime import processes

WORTH = 0.75
"""Share of the tokens, read row by row, under which reading shared parts once is quicker, though in more passes."""
FAR, HALF_FAR = 1e-3, 0.1
"""Difference of logits, in shares of their deviation, that passes for rounding in a trial: in float32, and in half
precision."""
_TRIED: weakref.WeakKeyDictionary[nn.Module, bool] = weakref.WeakKeyDictionary()


@dataclass(slots=True)
class Read:
    """Queries that were read: what the model keeps of them, and its output for the last token of each.

    mask and position [N, L] are those of the tokens kept, so many as `cache` holds of each row; `padded` says whether
    some of them are none.
    """

    cache: Cache
    output: Any
    mask: Tensor
    position: Tensor
    padded: bool = False

    def take(self, rows: Tensor) -> None:
        """Keep these rows [M] of the N, in this order, one more than once where it is to be shared."""
        self.cache.reorder_cache(rows)
        self.mask, self.position = self.mask[rows], self.position[rows]

    def times(self, model: Any, count: int) -> Read:
        """As many rows as `count`, each of which has read what this one has."""
        cache = make_cache(model.config)
        for number, layer in enumerate(self.cache.layers):
            cache.update(*(one.expand(count, -1, -1, -1) for one in (layer.keys, layer.values)), number)
        return Read(cache, None, self.mask.expand(count, -1), self.position.expand(count, -1), self.padded)


def head_of(queries: Sequence[Sequence[int]]) -> int:
    """How many first tokens all queries share, so that each keeps one of its own."""
    first, last = min(queries, key=list), max(queries, key=list)
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return min(shared, min(len(query) for query in queries) - 1)


def is_worth(queries: Sequence[Sequence[int]], rows: int, width: int, packed: int | None = None) -> bool:
    """Whether to read different `queries`, which serve `rows` rows of `width` further tokens, by shared parts; of
    those tokens `packed` are read then, where the rows are laid end to end."""
    longest, head = max(len(query) for query in queries), head_of(queries)
    further = rows * width if packed is None else packed
    return head + len(queries) * (longest - head) + further <= WORTH * rows * (longest + width)


def can_share(model: Any) -> bool:
    """Whether the model reads on from what it keeps as it reads whole rows, by its configuration and by a trial."""
    if processes.is_sharded() or (torch.is_grad_enabled() and is_checkpointed(model)):
        return False
    if model not in _TRIED:
        _TRIED[model] = _is_plain_attention(model.config.get_text_config()) and _agrees(model)
    return _TRIED[model]


def begin(model: Any, head: Sequence[int]) -> Read:
    """One row that has read a head, which may be empty."""
    device = next(model.parameters()).device
    none = torch.zeros(1, 0, dtype=torch.long, device=device)
    held = Read(make_cache(model.config), None, none.bool(), none)
    if head:
        follow(model, torch.tensor([list(head)], device=device), held, logits_to_keep=1)
    return held


def read(model: Any, queries: Sequence[Sequence[int]], begun: Read | None = None, **wanted: Any) -> Read:
    """Read N different queries, their common head once: the one that `begun`, which stays as it is, has read. `wanted`
    goes to the model with the queries' last pass."""
    held = (begun or begin(model, queries[0][: head_of(queries)])).times(model, len(queries))
    head = held.mask.shape[1]
    ids, own = pad([query[head:] for query in queries], 0, "left", held.mask.device)
    last = torch.tensor([ids.shape[1] - 1], device=ids.device)
    held.output = follow(model, ids, held, own, logits_to_keep=last, **wanted)
    return held


def follow(model: Any, ids: Tensor, held: Read, own: Tensor | None = None, **wanted: Any) -> Any:
    """The model's output for tokens `ids` [N, T] (own [N, T] bool, True on tokens) after what is held, which grows by
    them."""
    own = torch.ones_like(ids, dtype=torch.bool) if own is None else own
    return _go_on(model, ids, held, own, own.long().cumsum(1) - 1, None, wanted)


def follow_packed(
    model: Any, ids: Tensor, held: Read, own: Tensor, packing: Packing, **wanted: Any
) -> tuple[Any, Tensor]:
    """The model's output for tokens `ids` [N, T] (own [N, T], True on tokens, the first ones of each row) that
    `packing` lays end to end after the queries held; and where in the output, flattened, each stands [N, T]."""
    count, width = ids.shape
    device = ids.device
    places = torch.as_tensor(packing.line * packing.width + packing.start, device=device)[:, None]
    column = torch.arange(width, device=device)
    where = (places + column).masked_fill_(~own, 0)
    taken = where[own]

    def laid(values: Tensor, otherwise: int) -> Tensor:
        flat = torch.full((packing.size,), otherwise, dtype=torch.long, device=device)
        return flat.index_copy_(0, taken, values.expand(count, width)[own]).view(-1, packing.width)

    rows = laid(torch.arange(count, device=device)[:, None], -1)
    held.take(torch.as_tensor(packing.source, device=device))
    return _go_on(model, laid(ids, 0), held, rows >= 0, laid(column, 0), rows, wanted), where


def _go_on(
    model: Any, ids: Tensor, held: Read, own: Tensor, after: Tensor, rows: Tensor | None, wanted: dict[str, Any]
) -> Any:
    """Read ids [N, T], each so many tokens `after` what is held; of those that are read now, a token sees those of its
    own number in `rows` [N, T]."""
    held.padded |= not bool(own.all())
    position = (held.mask.sum(1, keepdim=True) + after).clamp(min=0)
    held.mask = torch.cat([held.mask, own], 1)
    held.position = torch.cat([held.position, position], 1)
    return model(
        input_ids=ids,
        attention_mask=_seen(model, held, position, rows),
        position_ids=position,
        past_key_values=held.cache,
        use_cache=True,
        **wanted,
    )


def _seen(model: Any, held: Read, position: Tensor, rows: Tensor | None) -> Any:
    """What each new token sees of all that is held, 0 or the least number there is [N, 1, T, L]; one for each kind of
    layer where some see but a window. None where a single token sees everything. Of the new tokens it sees those of
    its own of the `rows` [N, T]."""
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if position.shape[1] == 1 and not held.padded and (window is None or held.mask.shape[1] <= window):
        return None
    back = position.unsqueeze(2) - held.position.unsqueeze(1)
    seen = held.mask.unsqueeze(1) & (back >= 0)
    if rows is not None:
        seen[:, :, -rows.shape[1] :] &= rows.unsqueeze(2) == rows.unsqueeze(1)
    seen |= torch.zeros_like(seen).scatter_(2, _slots(held, position), True)  # padding sees itself, lest it be nan
    kinds = set(getattr(config, "layer_types", None) or ())
    near = seen & (back < window) if window else seen
    full, sliding = (_bias(model, one) for one in (seen, near))
    if "sliding_attention" in kinds:
        return {"full_attention": full, "sliding_attention": sliding}
    return sliding if not kinds else full


def _slots(held: Read, position: Tensor) -> Tensor:
    """Where in what is held each new token stands [N, T, 1]."""
    width, new = held.mask.shape[1], position.shape[1]
    return torch.arange(width - new, width, device=position.device).expand(position.shape).unsqueeze(2)


def _bias(model: nn.Module, seen: Tensor) -> Tensor:
    dtype = next(model.parameters()).dtype
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def _is_plain_attention(config: Any) -> bool:
    """Whether all layers attend to all or to a window of what came before, in a way that takes masks as they are."""
    rope = getattr(config, "rope_parameters", None) or {}
    turned = {rope.get("rope_type")} | {k.get("rope_type") for k in rope.values() if isinstance(k, dict)}
    return attends_only(config) and config._attn_implementation in ("sdpa", "eager") and "dynamic" not in turned


@torch.no_grad()
def _agrees(model: Any) -> bool:
    """Whether three short queries, read by their shared head and gone on from, give the logits of the rows alone."""
    luck = torch.Generator().manual_seed(0)
    some = next(model.parameters())
    device, rows = some.device, model.get_input_embeddings().weight.shape[0]
    bound = FAR if some.dtype.itemsize > 2 else HALF_FAR
    ids = torch.randint(rows, (9,), generator=luck).tolist()
    queries, then = [ids[:5], ids[:3] + ids[6:7]], torch.tensor([ids[7:]], device=device)
    try:
        held = read(model, queries)
        first = held.output.logits[:, -1]
        held.take(torch.tensor([0, 1, 1], device=device))
        after = follow(model, then.expand(3, 2), held).logits
        shared = torch.cat([first[[0, 1, 1], None], after], 1).float()
        for row, query in zip(shared, [queries[0], queries[1], queries[1]], strict=True):
            whole = model(input_ids=torch.tensor([[*query, *ids[7:]]], device=device), use_cache=False).logits.float()
            off = row - whole[0, len(query) - 1 :]
            if not bool(off.abs().max() <= bound * whole.std()):
                return False
    except Exception:  # of a class that is not ours: it is read row by row
        return False
    return True
