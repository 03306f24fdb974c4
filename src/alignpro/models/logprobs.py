"""Log-probabilities of given actions, for the reference, for KL estimates and inside the PPO update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from alignpro.models.padding import pad, positions
from alignpro.runtime import processes, progress


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

    With `hidden`, also the last hidden state [N, T, H] from which each action was taken, for a value head.
    """
    output = _output(model, actions, logits=actions.action.shape[1] + 1, hidden=hidden)
    logits = output.logits[:, :-1].float() / temperature
    taken = logits.gather(-1, actions.action.unsqueeze(-1)).squeeze(-1)
    logprobs = (taken - logits.logsumexp(-1)).masked_fill(~actions.action_mask, 0.0)
    return logprobs, _before_actions(output, actions) if hidden else None


def hidden_states(model: nn.Module, actions: Actions) -> Tensor:
    """The last hidden state [N, T, H] from which each action was taken, without the output layer's cost."""
    return _before_actions(_output(model, actions, logits=1, hidden=True), actions)


def _output(model: nn.Module, actions: Actions, logits: int, hidden: bool) -> Any:
    mask = torch.cat([actions.query_mask, actions.action_mask], 1)
    return model(
        input_ids=torch.cat([actions.query, actions.action], 1),
        attention_mask=mask.long(),
        position_ids=positions(mask),
        use_cache=False,
        logits_to_keep=logits,
        output_hidden_states=hidden,
    )


def _before_actions(output: Any, actions: Actions) -> Tensor:
    return torch.as_tensor(output.hidden_states[-1][:, -actions.action.shape[1] - 1 : -1])


@torch.no_grad()
def score(
    model: nn.Module,
    queries: Sequence[Sequence[int]],
    actions: Sequence[npt.NDArray[np.int64]],
    pad_id: int,
    temperature: float = 1.0,
    batch_size: int = 128,
) -> list[npt.NDArray[np.float32]]:
    """Log-probabilities of each action's tokens, one array [T_i] a row; computed in batches of like length, which
    several processes share."""
    device = next(model.parameters()).device
    order = sorted(range(len(queries)), key=lambda i: len(queries[i]) + len(actions[i]))

    def compute(mine: Sequence[int]) -> list[npt.NDArray[np.float32]]:
        scored: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(mine), batch_size):
            rows = mine[start : start + batch_size]
            batch = collate([queries[i] for i in rows], [actions[i] for i in rows], pad_id, device)
            logprobs = forward(model, batch, temperature)[0].cpu().numpy()
            scored += [logprobs[row, : len(actions[i])] for row, i in enumerate(rows)]
            progress.tell(len(scored), len(mine), "likelihoods")
        return scored

    result: list[npt.NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(queries)
    for i, row in zip(order, processes.spread(order, compute), strict=True):
        result[i] = row
    return result
