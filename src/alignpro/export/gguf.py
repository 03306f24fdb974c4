"""A prompter as one GGUF file for llama.cpp and Ollama, of classes and tokenizers that such a file can hold whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from alignpro.errors import UsageError
from alignpro.models.gguf import EXTRA, ROPE
from alignpro.models.language_model import LanguageModel
from alignpro.runtime.packages import installed

FILE = "model.gguf"
MODELFILE = "Modelfile"
Precision = Literal["float16", "float32"]
CLASSES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
"""Classes of transformers that are written, and what ggml calls them."""
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
_RULES = ("llama-bpe", "qwen2", "tekken", "gpt-4o")
_IGNORE_MERGES = ("llama-bpe", "tekken")


def check(lm: LanguageModel) -> None:
    """Raise UsageError for a prompter that no GGUF file would hold as it is, or without the package gguf."""
    if not installed("gguf"):
        raise UsageError(f"--gguf needs the package gguf, which is not here; {EXTRA}")
    config = lm.model.config
    if config.model_type not in CLASSES:
        raise UsageError(
            f"--gguf: {type(lm.model).__name__} is not written here, only classes {', '.join(CLASSES)}; leave --gguf"
            " out, and give the exported folder to llama.cpp's convert_hf_to_gguf.py"
        )
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    odd = {
        f"hidden_act {config.hidden_act}": config.hidden_act != "silu",
        "attention_bias": getattr(config, "attention_bias", False),
        "mlp_bias": getattr(config, "mlp_bias", False),
        "a sliding window": bool(getattr(config, "sliding_window", None)) and config.model_type != "qwen2",
        "use_sliding_window": getattr(config, "use_sliding_window", False),
        f"head_dim {head}": config.model_type == "qwen2" and head * config.num_attention_heads != config.hidden_size,
        f"rotary embeddings of type {_rope(config)}": _rope(config) not in ("default", "llama3"),
    }
    if found := [name for name, there in odd.items() if there]:
        raise UsageError(
            f"--gguf: the prompter has {', '.join(found)}, which is not read back from GGUF as it was; leave --gguf out"
        )
    _rule(lm.tokenizer)


def write(lm: LanguageModel, folder: Path, precision: Precision = "float16") -> None:
    """Write model.gguf, and a Modelfile by which Ollama takes it; vectors stay in float32.

    Raises UsageError as `check`, and for weights that float16 cannot hold.
    """
    check(lm)
    import gguf

    config = lm.model.config
    own = CLASSES[config.model_type]
    writer = gguf.GGUFWriter(folder / FILE, own)
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    writer.add_name(f"{lm.name} by alignpro")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType[{"float16": "MOSTLY_F16", "float32": "ALL_F32"}[precision]])
    writer.add_float32("general.sampling.temp", lm.sampling.temperature)
    writer.add_float32("general.sampling.top_p", lm.sampling.top_p)
    writer.add_int32("general.sampling.top_k", lm.sampling.top_k)
    rows = lm.model.get_input_embeddings().weight.shape[0]
    writer.add_vocab_size(rows)
    _add_tokenizer(writer, lm.tokenizer, rows)
    places = gguf.get_tensor_name_map(gguf.MODEL_ARCH[own.upper()], layers)
    for name, weight in _weights(lm.model):
        place = places.get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise UsageError(f"--gguf: {name} has no place in a GGUF file of {own}; leave --gguf out")
        if own == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = _interleaved(weight, heads if "q_proj" in name else config.num_key_value_heads)
        if weight.ndim > 1 and precision == "float16":
            weight = weight.astype(np.float16)
            if not np.isfinite(weight).all():
                raise UsageError(f"--gguf: {name} has values that float16 cannot hold; give --gguf-dtype float32")
        writer.add_tensor(place, weight)
    if _rope(config) == "llama3":
        writer.add_tensor(ROPE, _factors(config, head))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    told = lm.sampling.model_dump(include={"temperature", "top_p", "top_k"})
    lines = [f"FROM ./{FILE}", *(f"PARAMETER {name} {value:g}" for name, value in told.items())]
    (folder / MODELFILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rope(config: Any) -> str:
    return str((config.rope_parameters or {}).get("rope_type", "default"))


def _weights(model: Any) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Names and values, the output layer left out where it is the embeddings."""
    first, last = model.get_input_embeddings(), model.get_output_embeddings()
    for name, weight in model.state_dict().items():
        if not (name == "lm_head.weight" and last.weight is first.weight):
            yield name, weight.detach().float().cpu().numpy()


def _interleaved(weight: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """The rows of a projection [heads * D, E] as ggml rotates them: in pairs side by side, not in halves."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _factors(config: Any, head: int) -> npt.NDArray[np.float32]:
    """By what Llama 3 divides each frequency [head / 2]."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = config.rope_parameters["rope_theta"] ** -(torch.arange(0, head, 2, dtype=torch.float64) / head)
    return np.asarray((plain / scaled).float().numpy())


def _add_tokenizer(writer: Any, tokenizer: Any, rows: int) -> None:
    """Byte-level merges, what tokens are for, how texts begin and end, and the chat template."""
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {token["id"]: (token["content"], token["special"]) for token in spec["added_tokens"]}
    named = {number: token for token, number in tokenizer.get_vocab().items()}
    tokens = [named.get(number, f"[PAD{number}]") for number in range(rows)]
    kinds = [NORMAL if number in named else UNUSED for number in range(rows)]
    for number, (content, special) in added.items():
        tokens[number], kinds[number] = content, CONTROL if special else USER_DEFINED
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in spec["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_rule(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    ids = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    ids |= {"pad": tokenizer.pad_token_id, "unk": tokenizer.unk_token_id}
    for name, number in ids.items():
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    bare, whole = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    writer.add_add_space_prefix(False)
    writer.add_add_bos_token(whole[:1] != bare[:1])
    writer.add_add_eos_token(whole[-1:] != bare[-1:])
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _rule(tokenizer: Any) -> str:
    """What ggml calls the way in which texts are cut before merges. Raises UsageError where it has no name for it."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    model, cut = spec["model"], spec["pre_tokenizer"] or {}
    steps = cut.get("pretokenizers", [cut])
    kinds = [step.get("type") for step in steps]
    byte_level = model["type"] == "BPE" and (spec["normalizer"] or {"type": "NFC"})["type"] == "NFC"
    rule = None
    if byte_level and kinds[-1] == "ByteLevel" and not steps[-1]["add_prefix_space"]:
        if kinds == ["ByteLevel"] and steps[0]["use_regex"]:
            rule = "gpt-2"
        elif kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and steps[1]["use_regex"]:
            rule = "smollm"
        elif kinds == ["Split", "ByteLevel"] and not steps[1]["use_regex"]:
            pattern = steps[0]["pattern"].get("Regex")
            rule = next((name for name in _RULES if GGUF_PRE_TOKENIZER_SPLITS.get(name) == pattern), None)
    if rule is None or (model.get("ignore_merges", False) and rule not in _IGNORE_MERGES):
        raise UsageError(
            f"--gguf: its tokenizer ({model['type']}, cut by {', '.join(map(str, kinds))}) is not written here, only"
            " byte-level merges cut as by GPT-2, SmolLM, Llama 3 or Qwen 2; leave --gguf out, and give the exported"
            " folder to llama.cpp's convert_hf_to_gguf.py"
        )
    return rule
