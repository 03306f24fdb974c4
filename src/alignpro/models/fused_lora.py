"""An adapted layer's product and its adapter's as one operation, forward and backward.

peft computes y = W x + s B (A x) as it is written: the adapter's part, and its gradient, are tensors of the layer's
whole output, in float32 whatever the layer computes in, and each is gone through several times. Here the adapter's part
is added by the product that makes it, in the precision of the layer; its weights, and what Adam does with their
gradients, stay in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class FusedLinear(Linear):  # type: ignore[misc]
    """peft's adapted linear layer, with one adapter and a frozen base that is a plain product."""

    def forward(self, x: Tensor, *given: Any, **named: Any) -> Tensor:
        """x [..., I] to [..., O]."""
        base, active = self.base_layer, self.active_adapters
        apart = given or named or self.disable_adapters or self.merged or len(active) != 1
        if apart or active[0] not in self.lora_A or x.dtype != base.weight.dtype or base.weight.requires_grad:
            return super().forward(x, *given, **named)  # type: ignore[no-any-return]
        down, up = self.lora_A[active[0]].weight, self.lora_B[active[0]].weight
        product: Tensor = _Product.apply(x, base.weight, base.bias, down, up, self.scaling[active[0]])
        return product


def fuse(adapted: nn.Module) -> None:
    """Let every adapted layer of a model compute so that can: one that drops nothing, of a plain product."""
    layer: Any
    for layer in adapted.modules():
        if type(layer) is Linear and type(layer.base_layer) is nn.Linear and not layer.fan_in_fan_out:
            dropped = any(not isinstance(dropout, nn.Identity) for dropout in layer.lora_dropout.values())
            if not dropped and not layer.lora_variant and not any(layer.lora_bias.values()):
                layer.__class__ = FusedLinear


class _Product(torch.autograd.Function):
    """x W' + bias + s (x A') B', where W [O, I] and the bias [O] are frozen, A [r, I] and B [O, r] are not."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        narrow, wide = down.to(x.dtype), (up * scale).to(x.dtype)
        within = rows @ narrow.t()
        ctx.save_for_backward(rows, weight, narrow, wide, within)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, down.dtype
        return functional.linear(rows, weight, bias).addmm_(within, wide.t()).view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, narrow, wide, within = ctx.saved_tensors
        grad = grads[0].reshape(-1, len(weight))
        inner = grad @ wide
        of_x = (grad @ weight).addmm_(inner, narrow).view(ctx.shape) if ctx.needs_input_grad[0] else None
        of_down = (inner.t() @ rows).to(ctx.dtype)
        of_up = (grad.t() @ within).to(ctx.dtype) * ctx.scale
        return of_x, None, None, of_down, of_up, None
