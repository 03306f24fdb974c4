"""What one pass, forward and backward, holds: pieces of a minibatch of so many tokens, to fit what memory is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from alignpro.models.checkpointing import is_checkpointed, kept
from alignpro.models.logprobs import Actions
from alignpro.runtime import memory, processes

Cut = Callable[[Tensor], list[Tensor]]
"""Numbers of rows -> the same in pieces."""
SHARE = 0.5
"""Of the memory that is free, what a pass may keep for its backward pass; the rest is for what that makes meanwhile."""
STATE = 12
"""Bytes that training takes for each weight once it has begun: its gradient, and two moments of Adam."""

CHECKPOINTED = 3
"""Times a layer's insides that checkpointed layers hold: those of one, and the inputs of all."""


class Pieces:
    """Cuts a minibatch's rows into pieces of `tokens` tokens, rows of one prompt side by side.

    None: so many as are found to fit before the first update, a power of two, which a checkpoint keeps, since sums
    depend on it in the last digit. A policy that is split over processes is cut as it is told alone.
    """

    def __init__(self, policy: Any, tokens: int | None) -> None:
        self.policy, self.tokens = policy, tokens

    def cutter(self, actions: Actions, groups: Tensor, loss: Callable[[Tensor], Any], whole: bool = False) -> Cut:
        """What cuts rows of the N actions, which answer the prompts `groups` [N], or with `whole` the prompts
        themselves, numbered from 0; `loss` of some rows is what a pass computes."""
        query, action = actions.query_mask.sum(1).tolist(), actions.action_mask.sum(1).tolist()
        prompt, device = groups.tolist(), groups.device
        if self.tokens is None and len(prompt) > 1 and not processes.is_sharded():
            two = [0, next((i for i, one in enumerate(prompt) if one != prompt[0]), 1)]
            rows = torch.tensor(two, device=device)
            width = max(query[i] for i in two) + max(action[i] for i in two)
            self.tokens = affordable(self.policy, lambda: loss(rows[:1]), lambda: loss(rows), width)
        items: dict[int, list[int]] = {}
        for i, own in enumerate(prompt):
            items.setdefault(own if whole else i, []).append(i)

        def order(item: int) -> tuple[int, int]:
            return (0, item) if whole else (query[item], prompt[item])

        def cut(numbers: Tensor) -> list[Tensor]:
            parts, rows, longest = [list[int]()], 0, (0, 0)
            most = self.tokens
            for item in numbers.tolist() if most is None else sorted(numbers.tolist(), key=order):
                own = items[item]
                sizes = max(query[i] for i in own), max(action[i] for i in own)
                rows, longest = rows + len(own), (max(longest[0], sizes[0]), max(longest[1], sizes[1]))
                if most is not None and parts[-1] and rows * sum(longest) > most:
                    parts.append([])
                    rows, longest = len(own), sizes
                parts[-1].append(item)
            return [numbers] if len(parts) == 1 else [torch.tensor(part, device=numbers.device) for part in parts]

        return cut


def affordable(model: Any, one: Callable[[], Any], two: Callable[[], Any], width: int) -> int:
    """Tokens for which the memory that is free on the model's device suffices, a power of two.

    `one` and `two` compute the loss of one and of two rows of `width` tokens; what the second adds is what each further
    row is taken to hold.
    """
    device = next(model.parameters()).device
    state = STATE * sum(p.numel() for p in model.parameters() if p.requires_grad)
    first, both = held(model, one), held(model, two)
    each = max(1, both - first, both // 4)
    rows = 1 + max(0.0, SHARE * (memory.free(device) - state) - first) / each
    return 1 << max(width.bit_length(), int(rows * width).bit_length() - 1)


def held(model: Any, loss: Callable[[], Any]) -> int:
    """Bytes that the loss keeps for its backward pass, weights left out."""
    seen: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def note(kept_one: Tensor) -> Tensor:
        storage = kept_one.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return kept_one.detach()

    random = torch.random.fork_rng(devices=[])
    with random, kept(), torch.autograd.graph.saved_tensors_hooks(note, lambda kept_one: kept_one):
        computed = loss()
    total = sum(seen.values())
    del computed
    layers = model.config.get_text_config().num_hidden_layers
    return CHECKPOINTED * total // layers if is_checkpointed(model) and layers > CHECKPOINTED else total
