"""Hugging Face models from a folder, a hub id or `lab`; an adapter comes merged; faults are told in one line."""

from __future__ import annotations

import json
import pickle
import threading
import warnings
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from alignpro.config import DeviceMap
from alignpro.errors import HubUnreachable, ModelNotUsable, SettingsError, first_line
from alignpro.models import checksums, gguf, own_code, packaged
from alignpro.models.chat_template import keep_day
from alignpro.models.precision import dtype_of
from alignpro.runtime import processes

making = threading.RLock()
"""Held while a model or a layer is made: transformers changes for the whole process how torch makes them."""
Role = Literal["prompter", "frozen", "reward"]
OwnCode = tuple[str | None, bool]
"""The setting by which code that comes with a model would run, if there is one, and whether it is set."""
NO_CODE: OwnCode = (None, False)
ADAPTER = "adapter_config.json"
TOKENIZER_FILES = frozenset({"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json"})
HUB_S = 5.0
"""Seconds that the hub may take to answer at all, where a model of it is wanted."""
FAULTS = (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError, pickle.UnpicklingError)


def load_pretrained(auto: Any, name: str, role: Role, device: str, dtype: str) -> tuple[Any, Any]:
    """Model in evaluation mode on the device, and tokenizer; an adapter is merged, and code of its own never run.

    Raises ModelNotUsable for what cannot be loaded, an adapter's base model among it, and HubUnreachable.
    """
    tokenizer = load_tokenizer(name, role)
    return load_weights(auto, name, role, device, dtype), tokenizer


def load_weights(
    auto: Any,
    name: str,
    role: Role,
    device: str,
    dtype: str,
    device_map: DeviceMap = None,
    own_code_by: OwnCode = NO_CODE,
) -> Any:
    """The model of `load_pretrained` alone, over the devices of `device_map` where there is one."""
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()  # its bars would break into ours
    source = resolve(name, role)
    base = base_of(source, name, role)
    placed = {"device_map": _checked_map(device_map, role)} if device_map is not None else {}
    said, (setting, trusted) = f"{role}.model {name}", own_code_by
    config = own_code.check_config(base or source, said, setting, trusted)
    try:
        with making:
            model = auto.from_pretrained(
                base or source, dtype=dtype_of(dtype, device, config), trust_remote_code=trusted, **placed
            )
            if base is not None:
                model = merged(model, source)
            else:
                model.name_or_path = origin(name, role, source)
    except FAULTS as error:
        raise own_code.not_loaded(said, "weights", error, setting) from error
    return (model if placed else model.to(device)).eval()


def load_tokenizer(name: str, role: Role, own_code_by: OwnCode = NO_CODE) -> Any:
    """The tokenizer of `load_pretrained` alone; that of its base for an adapter without one."""
    from transformers import AutoTokenizer

    source = resolve(name, role)
    base = base_of(source, name, role)
    place, (setting, trusted) = source if base is None or has_tokenizer(source) else base, own_code_by
    try:
        return keep_day(AutoTokenizer.from_pretrained(place, trust_remote_code=trusted))
    except (*FAULTS, TypeError) as error:
        raise own_code.not_loaded(f"{role}.model {name}", "tokenizer", error, setting) from error


def merged(model: Any, adapter: str) -> Any:
    """The model with the adapter's product added to its weights, and with the layers that it holds whole; embeddings
    get as many rows as the adapter's have.

    Raises ValueError for an adapter of tied embeddings that is not tied itself: no weights are both ends of it.
    """
    from peft import PeftConfig, PeftModel
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    fit_embeddings(model, adapter)
    tied = tied_ends(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft about transformers, nothing to the user
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # told here, or harmless
        config = PeftConfig.from_pretrained(adapter)
        if config.task_type == "CAUSAL_LM" and not hasattr(model, "prepare_inputs_for_generation"):
            config.task_type = None  # a language model's adapter, whose layers a classifier has too
        adapted = PeftModel.from_pretrained(model, adapter, config=config)
        changes = [layer for layer in adapted.modules() if isinstance(layer, BaseTunerLayer)]
        changes = [layer for layer in changes if not isinstance(layer, TrainableTokensLayer)]  # peft ties those itself
        if any(layer.get_base_layer() in tied for layer in changes):
            if not getattr(config, "target_modules_to_tie", None):
                raise ValueError(
                    "the adapter changes the embeddings or the output layer, which are one in its base model, and ties"
                    " no two adapters, so it cannot be merged; train it with ensure_weight_tying=True, on other layers,"
                    " or on a base whose tie_word_embeddings is false"
                )
            output = model.get_output_embeddings()  # the product is added once to the weights that both ends share
            model.set_output_embeddings(output.get_base_layer())
        plain = adapted.merge_and_unload()
    plain.name_or_path = adapter  # so an adapter that is trained on it notes what it was trained on
    return plain


def fit_embeddings(model: Any, adapter: str) -> None:
    """Give the model as many embeddings as the adapter was trained on.

    Raises ValueError where the adapter does not hold those that the model lacks.
    """
    from peft.utils import load_peft_weights

    first, last = model.get_input_embeddings(), getattr(model, "get_output_embeddings", lambda: None)()
    places: dict[str, Any] = {name: one for name, one in model.named_modules() if one is first or one is last}
    rows, held = first.weight.shape[0], set[str]()
    wanted = rows
    for name, weight in load_peft_weights(adapter, device="cpu").items():
        place = next((place for place, module in places.items() if f".{place}." in name), None)
        if place is not None and name.endswith("lora_embedding_A"):
            wanted = weight.shape[1]
        elif place is not None and name.endswith(".weight") and "lora_" not in name:
            wanted = weight.shape[0]
            held.add(place)
    ends = {name for name, module in places.items() if module is first or module.weight is not first.weight}
    if wanted > rows and (lacking := sorted(ends - held)):
        raise ValueError(
            f"the adapter was trained on {wanted} embeddings, its base model has {rows}, and the adapter does not hold"
            f" those of {', '.join(lacking)}; save it with save_embedding_layers=True and those in modules_to_save, or"
            " merge it where it was trained"
        )
    if wanted != rows:
        model.resize_token_embeddings(wanted, mean_resizing=False)


def tied_ends(model: Any) -> list[Any]:
    """The modules of the embeddings and of the output layer where they share their weights, or none."""
    first, last = model.get_input_embeddings(), getattr(model, "get_output_embeddings", lambda: None)()
    shared = first is not None and last is not None and first.weight is last.weight
    return [first, last] if shared else []


def holds_adapter(source: str) -> bool:
    """Whether what a resolved name leads to is an adapter."""
    return _adapter_config(source) is not None


def base_of(source: str, name: str, role: Role) -> str | None:
    """Where the base model of an adapter is to be had; None of plain weights. Raises ModelNotUsable."""
    config = _adapter_config(source)
    if config is None:
        return None
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelNotUsable(
            f"{role}.model {name}: it is an adapter whose {ADAPTER} names no base_model_name_or_path; write there"
            " the folder or hub id of the model it was trained on"
        )
    try:
        place = resolve(base, role)
        if _adapter_config(place) is not None:
            raise ModelNotUsable(f"{base} is an adapter itself")
    except (ModelNotUsable, HubUnreachable) as error:
        cause = str(error).removeprefix(f"{role}.model ")
        raise type(error)(
            f"{role}.model {name}: it is an adapter, and its base model cannot be had: {cause}. Its place is named in"
            f" {ADAPTER} as base_model_name_or_path; mend it there"
        ) from None
    return place


def _adapter_config(source: str) -> dict[str, Any] | None:
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        path = find_adapter_config_file(source)
        config = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def has_tokenizer(source: str) -> bool:
    return not Path(source).is_dir() or any((Path(source) / name).is_file() for name in TOKENIZER_FILES)


def _checked_map(device_map: DeviceMap, role: Role) -> Any:
    if isinstance(device_map, dict):
        for device in device_map.values():
            if device != "disk":
                try:
                    device_of(f"cuda:{device}" if isinstance(device, int) else device)
                except SettingsError as error:
                    raise SettingsError(f"{role}.device_map: {error}") from None
    return device_map


def resolve(name: str, role: Role) -> str:
    """Folder or hub id to load from: `lab` is the lab's model of the role, `lab:NAME` another of the lab's, and
    `package:NAME` that which an installed package holds; of a GGUF file the folder of its plain form.

    Raises ModelNotUsable for a folder that lacks something, and as `packaged.place_of` and `gguf.plain`; HubUnreachable
    at once where a hub id is not in the local cache and the hub does not answer.
    """
    if name == "lab" or name.startswith("lab:"):
        return _of_lab(name, role)
    path, held, where = _place(name, role), packaged.is_packaged(name), f"{role}.model {name}"
    if (file := _gguf_at(path, where)) is not None:
        with making:
            return str(gguf.plain(file, where))
    if path.is_dir():
        _check_folder(path, name, role)
        _check_whole(path, name, role)
        return str(path.resolve())  # what an adapter notes as its base outlives the working folder
    if held or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or path.suffix == packaged.GGUF:
        raise ModelNotUsable(
            f"{where}: no such folder or {packaged.GGUF} file; give a folder with a Hugging Face model, or a hub id"
        )
    _check_hub(name, role)
    return name


def _place(name: str, role: Role) -> Path:
    return packaged.place_of(name, f"{role}.model") if packaged.is_packaged(name) else Path(name).expanduser()


def _gguf_at(path: Path, where: str) -> Path | None:
    """The GGUF file that a path is or holds, if it does."""
    if path.is_file() and path.suffix == packaged.GGUF:
        return path
    return gguf.inside(path, where) if path.is_dir() else None


def check_held(name: str, role: Role) -> None:
    """Raise ModelNotUsable at once for a package or a GGUF file that gives no model; of weights nothing is read."""
    where = f"{role}.model {name}"
    if name != "lab" and (file := _gguf_at(_place(name, role), where)) is not None:
        gguf.check(file, where)


def origin(name: str, role: Role, source: str) -> str:
    """What an adapter shall note as its base, where `name` was resolved to `source`: never a plain form that is kept
    of a GGUF file, which can be made anew, but the file or the package that holds it."""
    if not Path(source).is_relative_to(gguf.kept()):
        return source
    return name if packaged.is_packaged(name) else str(_place(name, role).resolve())


def display_name(name: str, role: Role) -> str:
    """What reports call the model."""
    if name == "lab" or name.startswith("lab:"):
        return f"lab {name[4:] or role}"
    return name.removeprefix(packaged.PREFIX).rstrip("/").rsplit("/", 1)[-1]


def device_of(wanted: str) -> str:
    """`auto` resolved to the best device there is, and among several processes an accelerator to the process's own.

    Raises SettingsError for one that is not there.
    """
    own = processes.own_device()
    if own is not None and wanted in ("auto", own.partition(":")[0]):
        return own
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device {wanted!r} cannot be used here ({first_line(error)}); try device=cpu") from error
    return wanted


def _of_lab(name: str, role: Role) -> str:
    weights = Path(str(resources.files("alignpro.lab") / "weights"))
    own = name.removeprefix("lab:") if ":" in name else role
    known = sorted(entry.name for entry in weights.iterdir() if entry.name.startswith(role))
    if own not in known:
        raise ModelNotUsable(
            f"{role}.model {name}: the lab has no such model; give lab, or {', '.join(f'lab:{k}' for k in known)}"
        )
    return str(weights / own)


def _check_folder(path: Path, name: str, role: Role) -> None:
    files = {entry.name for entry in path.iterdir()}
    if "config.yaml" in files:
        raise ModelNotUsable(f"{role}.model {name}: the folder is that of a run; its model is in {path / 'prompter'}")
    if not files & {"config.json", ADAPTER}:
        raise ModelNotUsable(f"{role}.model {name}: the folder has no config.json, so it is not a Hugging Face model")
    if not any(f.endswith((".safetensors", ".bin")) for f in files):
        raise ModelNotUsable(f"{role}.model {name}: the folder has no weights (*.safetensors or *.bin)")
    if ADAPTER not in files and not files & TOKENIZER_FILES:
        raise ModelNotUsable(f"{role}.model {name}: the folder has no tokenizer (tokenizer.json or the like)")


def _check_whole(path: Path, name: str, role: Role) -> None:
    if fault := checksums.fault(path.resolve()):
        raise ModelNotUsable(
            f"{role}.model {path}: {fault}; put the file back as it was saved, or, where the folder is one that"
            " alignpro made in a run, delete the folder: --resume makes it anew from the run's last checkpoint. Where"
            f" the change is meant, delete {checksums.FILE}"
        )


def _check_hub(name: str, role: Role) -> None:
    from huggingface_hub import constants, get_session, try_to_load_from_cache

    if any(isinstance(try_to_load_from_cache(name, file), str) for file in ("config.json", ADAPTER)):
        return
    hint = f"{role}.model {name} is neither a folder here nor a model in the local cache"
    if constants.HF_HUB_OFFLINE:
        raise HubUnreachable(f"{hint}, and HF_HUB_OFFLINE forbids asking the hub; give a folder, or unset it")
    try:
        get_session().head(constants.ENDPOINT, timeout=HUB_S)  # by the hub's own client, as files are fetched
    except Exception as error:  # of the HTTP library that the client uses; an answer of any status is none
        raise HubUnreachable(
            f"{hint}, and the hub at {constants.ENDPOINT} cannot be reached ({first_line(error)}); check the network,"
            " set HTTPS_PROXY where only a proxy leads out, or give a folder"
        ) from error
