"""Adam on float32 copies of weights that compute in lower precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignpro.models.sharding import like, moments_like


class MasterAdam(torch.optim.Adam):
    """Adam that sums up in float32 what it does to bfloat16 weights, and rounds for computing after each step.

    An update at the usual learning rates is smaller than the gap between neighbouring bfloat16 numbers, so weights that
    were only bfloat16 would stand still. Policy and reference compute in the same precision by the same operations,
    unlike under autocast, so that they are equal before the first step. Its parameters are the copies: gradients reach
    them as they come in the backward pass. Weights in float32 are trained as they are. `own` are settings of Adam.
    """

    def __init__(self, groups: list[dict[str, Any]], **own: Any) -> None:
        self._copies: list[tuple[Tensor, Tensor]] = []
        super().__init__([{**group, "params": [self._master(p) for p in group["params"]]} for group in groups], **own)

    def _master(self, weight: Tensor) -> Tensor:
        if weight.dtype not in (torch.bfloat16, torch.float16):
            return weight
        master = nn.Parameter(weight.detach().float())

        def move(computed: Tensor) -> None:
            if computed.grad is not None:
                gradient = computed.grad.float()
                master.grad = gradient if master.grad is None else master.grad + gradient
                computed.grad = None

        weight.register_post_accumulate_grad_hook(move)
        self._copies.append((weight, master))
        return master

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, and the rounded result in the weights that compute."""
        loss = super().step(closure)
        for weight, master in self._copies:
            weight.copy_(master)
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "masters": [master.detach() for _, master in self._copies]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        masters = state_dict.get("masters", [])
        parameters = [p for group in self.param_groups for p in group["params"]]
        state = {name: value for name, value in state_dict.items() if name != "masters"}
        super().load_state_dict(moments_like(state, parameters))
        for (weight, master), saved in zip(self._copies, masters, strict=True):
            master.copy_(like(saved, master))
            weight.copy_(master)
