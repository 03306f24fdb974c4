"""A policy whose weights, gradients and optimiser states are split over the processes (FSDP, by `fully_shard`).

The update runs on the split model: layers are gathered as they are needed, gradients are summed as they are scattered.
Sampling and values run on weights gathered once, since each process stops at a token of its own. Whoever launches
without FSDP finds that every function here gives back what it was given.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from alignpro.runtime import processes


def shard(model: Any) -> None:
    """Split the model in place, layer by layer, if the launch says so. Its optimiser is to be made afterwards."""
    if not processes.is_sharded():
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    # said of every model that returns hidden states; nothing here writes into them
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    named = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "").split(",")
    layers = {name.strip() for name in named} - {""} or set(model._no_split_modules or ())
    mesh, policy = processes.mesh(model.device.type), MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for module in [*(m for m in model.modules() if type(m).__name__ in layers), model]:
        fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=_frees_after_forward())
        module.set_gradient_divide_factor(1.0)  # losses are shares of a sum, so gradients are summed
        module.set_force_sum_reduction_for_comms(True)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """While open, every process holds all weights and runs the model without meeting the others. No gradients.

    Entering is a meeting.
    """
    if not processes.is_sharded():
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(_frees_after_forward(), recurse=False)


def whole(state: Any) -> Any:
    """Nested dicts and lists with every split tensor joined, on the CPU of the first process; None in the others.

    A meeting, where the launch splits models.
    """
    if not processes.is_sharded():
        return state
    from torch.distributed.tensor import DTensor

    if isinstance(state, dict):
        return {name: whole(value) for name, value in state.items()}
    if isinstance(state, list):
        return [whole(value) for value in state]
    if isinstance(state, DTensor):
        joined = state.detach().full_tensor()  # type: ignore[attr-defined]
        return joined.cpu() if processes.is_first() else None
    return state


def like(saved: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor laid out as `pattern` is: each process keeps its part where that is split."""
    if processes.is_sharded():
        from torch.distributed.tensor import DTensor, distribute_tensor

        if isinstance(pattern, DTensor):
            here = saved.to(pattern.device)
            return distribute_tensor(here, pattern.device_mesh, pattern.placements, src_data_rank=None)
    return saved


def moments_like(state: dict[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """A whole optimiser's state, laid out as its parameters are."""
    if not processes.is_sharded():
        return state
    moments = {
        i: {name: like(value, parameters[i]) if value.ndim else value for name, value in moments.items()}
        for i, moments in state["state"].items()
    }
    return {**state, "state": moments}


def clip(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale the gradients down to a norm of `limit` over all of them, split or whole; the norm before."""
    if not processes.is_sharded():
        return float(nn.utils.clip_grad_norm_(parameters, limit))
    from torch.distributed.tensor import DTensor

    gradients = [p.grad for p in parameters if p.grad is not None]
    split = [g.to_local() for g in gradients if isinstance(g, DTensor)]
    apart = processes.total(sum((g.float().square().sum() for g in split), torch.zeros((), device=split[0].device)))
    norm = (apart + sum(g.float().square().sum() for g in gradients if not isinstance(g, DTensor))).sqrt()
    scale = min(1.0, limit / (float(norm) + 1e-6))
    for gradient in gradients:
        gradient.mul_(scale)
    return float(norm)


def _frees_after_forward() -> bool:
    """Whether a layer's weights are dropped after the forward pass and gathered again for the backward one."""
    return os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
