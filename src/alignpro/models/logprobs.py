"""Log-probabilities of given actions, for the reference, for KL estimates and inside the PPO update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


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
    width, length = max(map(len, queries)), max(1, *map(len, actions))
    query = torch.full((len(queries), width), pad_id)
    action = torch.full((len(queries), length), pad_id)
    query_mask, action_mask = (
        torch.zeros_like(query, dtype=torch.bool),
        torch.zeros_like(action, dtype=torch.bool),
    )
    for row, (ids, tokens) in enumerate(zip(queries, actions, strict=True)):
        query[row, width - len(ids) :] = torch.as_tensor(ids)
        query_mask[row, width - len(ids) :] = True
        action[row, : len(tokens)] = torch.as_tensor(tokens)
        action_mask[row, : len(tokens)] = True
    return Actions(query.to(device), query_mask.to(device), action.to(device), action_mask.to(device))


def forward(
    model: nn.Module, actions: Actions, temperature: float, hidden: bool = False
) -> tuple[Tensor, Tensor | None]:
    """log p(action_t | query, action_<t) [N, T] under softmax(logits / temperature), 0 on padding.

    With `hidden`, also the last hidden state [N, T, H] from which each action was taken, for a value head.
    """
    length = actions.action.shape[1]
    ids = torch.cat([actions.query, actions.action], 1)
    mask = torch.cat([actions.query_mask, actions.action_mask], 1)
    output: Any = model(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=length + 1,
        output_hidden_states=hidden,
    )
    logits = output.logits[:, :-1].float() / temperature
    taken = logits.gather(-1, actions.action.unsqueeze(-1)).squeeze(-1)
    logprobs = (taken - logits.logsumexp(-1)).masked_fill(~actions.action_mask, 0.0)
    return logprobs, output.hidden_states[-1][:, -length - 1 : -1] if hidden else None


@torch.no_grad()
def score(
    model: nn.Module,
    queries: Sequence[Sequence[int]],
    actions: Sequence[npt.NDArray[np.int64]],
    pad_id: int,
    temperature: float = 1.0,
    batch_size: int = 128,
) -> list[npt.NDArray[np.float32]]:
    """Log-probabilities of each action's tokens, one array [T_i] a row; computed in batches of like length."""
    device = next(model.parameters()).device
    order = sorted(range(len(queries)), key=lambda i: len(queries[i]) + len(actions[i]))
    result: list[npt.NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(queries)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate([queries[i] for i in rows], [actions[i] for i in rows], pad_id, device)
        logprobs = forward(model, batch, temperature)[0].cpu().numpy()
        for row, i in enumerate(rows):
            result[i] = logprobs[row, : len(actions[i])]
    return result
