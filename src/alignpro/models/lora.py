"""LoRA: a policy that is an adapter over weights that stay as they are, its reference the same weights without it.

Sampling while training reads base and adapter unmerged. That is what the update computes, so sampled log-probabilities
are those of the policy that is updated; merging would round the product into weights of lower precision, and taking it
out again would not give back the base's last digits. Evaluation and serving load the adapter merged instead.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from alignpro.config import LoraSettings
from alignpro.errors import SettingsError
from alignpro.models.loading import holds_adapter, making, tied_ends
from alignpro.models.sharding import like

MAMBAS = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
BYPASSED = {"out_proj", "conv1d"}
"""Layers of MAMBAS whose weights their kernels take without calling the layer; peft raises for an adapter of one."""


class AdapterOff(nn.Module):
    """A model that carries an adapter, computing without it: the reference, at no cost in memory."""

    def __init__(self, adapted: Any) -> None:
        super().__init__()
        self.adapted = adapted

    @property
    def config(self) -> Any:
        return self.adapted.config

    @property
    def generation_config(self) -> Any:
        return self.adapted.generation_config

    @property
    def device(self) -> torch.device:
        return torch.device(self.adapted.device)

    def get_input_embeddings(self) -> nn.Module:
        return self.adapted.get_input_embeddings()  # type: ignore[no-any-return]

    def get_output_embeddings(self) -> nn.Module | None:
        return self.adapted.get_output_embeddings()  # type: ignore[no-any-return]

    def forward(self, **inputs: Any) -> Any:
        """What the base model gives, to the last bit."""
        layers = self.adapted.base_model
        layers.disable_adapter_layers()
        try:
            return self.adapted(**inputs)
        finally:
            layers.enable_adapter_layers()


@contextmanager
def adapted(
    model: Any, settings: LoraSettings, where: str, seed: int, whole: Sequence[str] | None = None
) -> Iterator[Any]:
    """The model with a fresh adapter on it, in float32 whatever the model computes in; taken off again at the end.

    The adapter starts at 0, so that the policy starts at its reference. Only its weights need gradients. `whole` are
    None for a language model; for a classifier the layers beside its head that are trained whole, as its head is, and
    saved with the adapter. Raises SettingsError for layers that the model does not have; `where` names the setting.
    """
    from peft import LoraConfig, get_peft_model

    from alignpro.models.fused_lora import fuse

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets_of(model, settings),
        task_type="CAUSAL_LM" if whole is None else "SEQ_CLS",
        modules_to_save=list(whole or ()) or None,
    )
    check_targets(model, settings, where)
    with making, torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft about transformers, nothing to the user
        torch.manual_seed(seed)
        policy = get_peft_model(model, config)
    fuse(policy)
    try:
        yield policy.eval()
    finally:
        policy.unload()


def check_targets(model: Any, settings: LoraSettings, where: str) -> None:
    """Raise SettingsError for layers that the model does not have, and for embeddings that are its output layer too;
    `where` names the setting."""
    wanted, modules = settings.targets, dict(model.named_modules())
    if wanted == "all-linear":
        return
    layers = [name for name, module in modules.items() if _adaptable(module)]
    if isinstance(wanted, str):
        reached = {wanted: [name for name in modules if re.fullmatch(wanted, name)]}
    else:
        reached = {one: [name for name in layers if f".{name}".endswith(f".{one}")] for one in wanted}
    missing = [one for one, names in reached.items() if not {*names} & {*layers}] or ([] if wanted else ["[]"])
    if missing:
        known = sorted({name.rsplit(".", 1)[-1] for name in layers})
        raise SettingsError(
            f"{where}.targets {', '.join(missing)}: no layer of that name can carry an adapter; this model has"
            f" {', '.join(known)}, and all-linear takes every one but the output layer"
        )
    every = {name for names in reached.values() for name in names}
    bypassed = {name.rsplit(".", 1)[-1] for name in every} & BYPASSED
    if bypassed and model.config.get_text_config().model_type in MAMBAS:
        raise SettingsError(
            f"{where}.targets reach {', '.join(sorted(bypassed))}, whose weights Mamba's kernels take without calling"
            " the layer, so that an adapter would do nothing; name other layers, or all-linear, which leaves them out"
        )
    if unfit := every - {*layers}:
        raise SettingsError(
            f"{where}.targets {wanted} reaches {min(unfit) or 'the whole model'}, which is no layer and can carry no"
            " adapter; let the pattern end in the names of layers"
        )
    ends = tied_ends(model)
    if tied := sorted(name for name in every if modules[name] in ends):
        raise SettingsError(
            f"{where}.targets reach {', '.join(tied)}, whose weights are both the embeddings and the output layer of"
            " this model: merged, an adapter of one would change the other; name other layers, or all-linear"
        )


def _adaptable(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Embedding | Conv1D)


def targets_of(model: Any, settings: LoraSettings) -> list[str] | str:
    """The layers that get the adapter, as the settings name them; all linear ones are, in a Mamba, those whose adapter
    its kernels do not read past."""
    if settings.targets != "all-linear" or model.config.get_text_config().model_type not in MAMBAS:
        return settings.targets
    linear = (name for name, module in model.named_modules() if isinstance(module, nn.Linear))
    output = [name for name, module in model.named_modules() if module is model.get_output_embeddings()]
    return sorted({name.rsplit(".", 1)[-1] for name in linear if name not in output} - BYPASSED)


def is_adapted(model: Any) -> bool:
    """Whether the model carries an adapter."""
    return hasattr(model, "peft_config")


def save_trained(model: Any, folder: Path) -> None:
    """Write the adapter alone, or all weights with it merged where those under it were merged themselves as they were
    loaded, and are to be had nowhere."""
    if holds_adapter(str(model.peft_config[model.active_adapter].base_model_name_or_path)):
        copy.deepcopy(model).merge_and_unload().save_pretrained(folder)
    else:
        save_adapter(model, folder)


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter alone, as plain peft loads it; its base model is noted by its absolute path or hub id."""
    model.save_pretrained(folder, save_embedding_layers=False)  # peft would ask the hub whether they were resized
    (folder / "README.md").unlink(missing_ok=True)  # an empty form; `alignpro export` writes a model card


def trained_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """What a checkpoint needs of the policy: all of it, or its adapter alone."""
    state: dict[str, torch.Tensor] = model.state_dict()
    if is_adapted(model):
        return {name: state[name] for name, weight in model.named_parameters() if weight.requires_grad}
    return state


def load_trained_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Undo what happened since `trained_state`. Raises RuntimeError for the state of another model or adapter."""
    needed = trained_state(model).keys()
    if needed != state.keys():
        raise RuntimeError(f"it holds {len(state)} weights, where {len(needed)} are trained")
    own = model.state_dict()
    model.load_state_dict({name: like(saved, own[name]) for name, saved in state.items()}, strict=False)
