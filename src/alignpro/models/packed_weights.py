"""A product of few rows with weights that lie as the processor's library reads them, laid so once and not at each call.

A token of each row is a product of some dozens of rows with every weight there is. Both factors are laid anew by the
library each time, which takes as long as the product where rows are few and outputs many, as an output layer's are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from alignpro.models import precision

LARGEST = 1 << 29
"""Weights of a model up to which they are held a second time."""
ROWS = 64
"""Rows of a product that the layout is made for; it serves others as well."""
_KEPT: Any = WeakTensorKeyDictionary()
"""By the first of the weights: where and in which version they were, and what was made of them."""


def packed(weights: Sequence[Tensor], bias: Tensor | None = None) -> Callable[[Tensor], Tensor] | None:
    """x [N, I] to x W' + bias [N, O] by a copy, in the library's own layout, of the weights W [O, I] that stand one
    under another; None where it has none for them, or where they are small enough to be laid anew.

    The copy is kept until the weights change, or are gone.
    """
    first = weights[0]
    narrow = min(sum(map(len, weights)), first.shape[1]) < precision.NARROW
    if narrow or not first.is_cpu or any(weight.is_inference() for weight in weights) or not _has(first.dtype):
        return None
    state = [(weight.data_ptr(), weight._version) for weight in weights]
    kept = _KEPT.get(first)
    if kept is None or kept[0] != state:
        whole = torch.cat([*weights]) if len(weights) > 1 else first.detach().contiguous()
        kept = _KEPT[first] = (state, torch.ops.mkldnn._reorder_linear_weight(whole, ROWS))
    return functools.partial(_product, kept[1], bias)


def _product(laid: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, laid, bias, "none", [], "")
    return product


@functools.cache
def _has(dtype: torch.dtype) -> bool:
    """Whether this build of torch, on this processor, computes such products in that precision."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    x = torch.eye(2, precision.NARROW, dtype=dtype)
    try:
        laid = torch.ops.mkldnn._reorder_linear_weight(
            torch.ones(precision.NARROW, precision.NARROW, dtype=dtype), ROWS
        )
        return bool((_product(laid, None, x) == 1).all())
    except (AttributeError, RuntimeError):  # operators that torch keeps for itself
        return False
