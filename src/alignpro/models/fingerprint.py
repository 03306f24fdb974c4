"""A digest of a model's weights, to show that what is frozen stayed frozen."""

from __future__ import annotations

import hashlib

from accelerate.utils import align_module_device
from torch import Tensor, nn, uint8


def fingerprint(model: nn.Module) -> str:
    """A digest of all weights, wherever they lie: the same for the same weights on one device, on several, or on disk.

    Of a model that carries an adapter it covers the adapter too; take it off first to show that the rest is unchanged.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor if not tensor.is_meta else _fetched(model, name)))
    return digest.hexdigest()


def _fetched(model: nn.Module, name: str) -> Tensor:
    """A weight that accelerate keeps elsewhere and leaves an empty shell for."""
    owner, _, leaf = name.rpartition(".")
    module = model.get_submodule(owner)
    with align_module_device(module):
        return getattr(module, leaf).detach().cpu().clone()  # type: ignore[no-any-return]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(uint8).numpy().tobytes()
