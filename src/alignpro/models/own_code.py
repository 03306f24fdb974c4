"""Python code that comes with a model: never run but by the setting of that very model, whatever stands at a prompt."""

from __future__ import annotations

import pickle
from typing import Any

from alignpro.errors import ModelNotUsable, first_line

KERNELS = ("attn_implementation", "experts_implementation")
"""What a config may name an implementation by; one with a slash is code that is fetched from the hub."""
_MORE_THAN_TENSORS = ("weights_only", "unpickl")


def refused(said: str, setting: str | None) -> ModelNotUsable:
    """The error for a model, named as in `said`, whose code does not run; `setting` would let it, where one can."""
    advice = f"set {setting}=true if you trust it" if setting else "give a model of a class that transformers has"
    return ModelNotUsable(
        f"{said}: it comes with Python code of its own, which would run on this machine; read that code, and {advice}"
    )


def not_loaded(said: str, what: str, error: BaseException, setting: str | None) -> ModelNotUsable:
    """The error for a `what` of a model (weights, tokenizer) that was not loaded, with advice that is safe to take."""
    text = str(error).strip() or type(error).__name__
    if "trust_remote_code" in text:
        return refused(said, setting)
    if isinstance(error, pickle.UnpicklingError) or any(word in text for word in _MORE_THAN_TENSORS):
        return ModelNotUsable(
            f"{said}: its {what} are a pickle that holds more than tensors, and to load it could run code, so it is not"
            " loaded; take a copy in safetensors, or save one where you trust the file"
        )
    return ModelNotUsable(f"{said}: no {what} could be loaded ({first_line(error)})")


def check_config(source: str, said: str, setting: str | None, trusted: bool) -> dict[str, Any]:
    """The config of a model, which must name no code that is fetched. Raises ModelNotUsable."""
    from transformers import PretrainedConfig

    try:
        config, _ = PretrainedConfig.get_config_dict(source)
    except (OSError, ValueError) as error:
        raise not_loaded(said, "config", error, setting) from error
    if not trusted and _names_kernel(config):
        raise refused(said, setting)
    return dict(config)


def _names_kernel(config: Any) -> bool:
    if isinstance(config, dict):
        return any(
            ("/" in str(value) if str(key).lstrip("_").startswith(KERNELS) else _names_kernel(value))
            for key, value in config.items()
        )
    return isinstance(config, list) and any(map(_names_kernel, config))
