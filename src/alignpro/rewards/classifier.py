"""Sequence classifiers of Hugging Face: loading one with every fault told, and logits of rows of unlike length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from alignpro.config import RewardSpec
from alignpro.errors import ModelNotUsable
from alignpro.models import own_code
from alignpro.models.chat_template import keep_day
from alignpro.models.loading import FAULTS, base_of, has_tokenizer, making, merged, resolve
from alignpro.models.padding import context_of
from alignpro.models.precision import dtype_of
from alignpro.models.vocabulary import check_embeddings
from alignpro.rewards.heads import Head
from alignpro.rewards.layout import Row, inputs
from alignpro.runtime import memory, processes, progress
from alignpro.types import FloatArray

BATCH = 128
"""Rows at a time where the settings say nothing."""
TOO_LONG = "longer than the reward model's context"
NOT_FINITE = "reward model gave no finite score"
HEADS = ("score", "classifier")
"""What transformers calls the part of a classifier that scores."""


def batch_logits(model: Any, rows: Sequence[Row], batch_size: int) -> FloatArray:
    """Logits [N, L] of N rows, computed in batches of like length and padded on the right; processes share the rows.

    Neither the batch nor its order changes a row's logits by more than rounding.
    """
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))

    def compute(mine: Sequence[int]) -> list[FloatArray]:
        computed: list[FloatArray] = []
        for start in range(0, len(mine), batch_size):
            with memory.lower("reward.batch_size", batch_size, "scoring answers"):
                computed += [*_logits(model, [rows[i] for i in mine[start : start + batch_size]])]
            progress.tell(len(computed), len(mine), "scores")
        return computed

    if not rows:
        return np.zeros((0, model.config.num_labels))
    parts = processes.spread(order, compute)
    in_order = np.empty((len(rows), len(parts[0])))
    in_order[order] = parts
    return in_order


def scored(
    model: Any, rows: Sequence[Row | None], head: Head, batch_size: int
) -> tuple[FloatArray, tuple[str | None, ...]]:
    """What `head` makes of each row's logits [N], nan with the reason where a row is None or has no finite score."""
    present = [i for i, row in enumerate(rows) if row is not None]
    values = np.full(len(rows), np.nan)
    values[present] = head(batch_logits(model, [row for row in rows if row is not None], batch_size))
    values[~np.isfinite(values)] = np.nan
    reasons = (
        TOO_LONG if row is None else NOT_FINITE if np.isnan(v) else None for row, v in zip(rows, values, strict=True)
    )
    return values, tuple(reasons)


def labels_of(model: Any, rows: Sequence[Row]) -> list[str]:
    """Names of the labels, of which there are as many as logits of a first row."""
    count = batch_logits(model, rows[:1], 1).shape[1]
    named = model.config.id2label
    return [str(named.get(i, i)) if len(named) == count else str(i) for i in range(count)]


def token_limit(model: Any) -> int:
    """Tokens that fit; a table of positions that keeps some for padding, as RoBERTa's does, has fewer than its rows."""
    limit = context_of(model.config.get_text_config())
    embeddings = getattr(getattr(model, "base_model", None), "embeddings", None)
    positions = getattr(embeddings, "position_embeddings", None)
    kept = getattr(positions, "padding_idx", None)
    return limit if kept is None else limit - int(kept) - 1


@torch.inference_mode()
def _logits(model: Any, rows: Sequence[Row]) -> FloatArray:
    config = model.config.get_text_config()
    told = config.pad_token_id
    if told is None:  # decoders find the last token by it: take an id that none of these rows has
        used = {token for row in rows for token in row.ids}
        config.pad_token_id = next(i for i in range(len(used) + 1) if i not in used)
    try:
        logits = model(**inputs(rows, config.pad_token_id, model.device)).logits
    finally:
        config.pad_token_id = told
    return np.asarray(logits.double().reshape(len(rows), -1).cpu().numpy(), dtype=np.float64)


def load_classifier(spec: RewardSpec, device: str, dtype: str) -> tuple[Any, Any]:
    """The classifier of `spec` in evaluation mode, and its tokenizer; an adapter is merged, its head among its weights.

    Raises ModelNotUsable, HubUnreachable. Its score head computes in float32 whatever the rest of the model does.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()  # its bars would break into ours
    name = str(spec.model)
    source = resolve(name, "reward")
    base = base_of(source, name, "reward")
    trust = spec.trust_remote_code
    said, setting = f"reward.model {name}", "reward.trust_remote_code"
    config = own_code.check_config(base or source, said, setting, trust)
    if not trust and _is_of_own_class(config):
        raise own_code.refused(said, setting)
    try:
        place = source if base is None or has_tokenizer(source) else base
        tokenizer = keep_day(AutoTokenizer.from_pretrained(place, trust_remote_code=trust))
    except (*FAULTS, TypeError) as error:
        raise own_code.not_loaded(said, "tokenizer", error, setting) from error
    making.acquire()
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()  # what is missing is told below, in one line
    try:
        own = {} if base is None else _own_layers(source)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            base or source,
            dtype=dtype_of(dtype, device, config),
            trust_remote_code=trust,
            output_loading_info=True,
            **({"device_map": spec.device_map} if spec.device_map else {}),
            **_labels(own),
        )
        lacking = sorted(set(info["missing_keys"]) - own.keys())
        if base is not None and not lacking:
            score_in_float32(model)  # before the adapter's head is read into a copy of it
            model = merged(model, source)
    except FAULTS as error:
        raise own_code.not_loaded(said, "weights", error, setting) from error
    finally:
        hf_logging.set_verbosity(level)
        making.release()
    if lacking:
        raise ModelNotUsable(
            f"reward.model {name}: its weights lack {', '.join(lacking[:3])}, which a classifier scores with, so that"
            " scores would be random; give a model that was trained as a sequence classifier"
        )
    if not spec.device_map:
        model = model.to(device)
    check_embeddings(model, tokenizer, f"reward.model {name}")
    model.eval().requires_grad_(False)
    model.config.get_text_config().use_cache = False
    score_in_float32(model)
    return model, tokenizer


def _own_layers(adapter: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that an adapter holds whole, a score head's among them."""
    from peft.utils import load_peft_weights

    held = load_peft_weights(adapter, device="cpu")
    return {
        name.removeprefix("base_model.model."): tuple(weight.shape)
        for name, weight in held.items()
        if "lora_" not in name
    }


def _labels(own: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The labels that an adapter's score head gives, where it has one: the rows of its narrowest layer."""
    rows = [shape[0] for name, shape in own.items() if name.split(".")[0] in HEADS and len(shape) == 2]
    return {"num_labels": min(rows)} if rows else {}


def _is_of_own_class(config: Mapping[str, Any]) -> bool:
    """Whether its class comes as code beside its weights: without it, it loads as something else, or not at all."""
    from transformers import CONFIG_MAPPING

    own = config.get("auto_map") or {}
    return "AutoModelForSequenceClassification" in own or bool(own and config.get("model_type") not in CONFIG_MAPPING)


def score_in_float32(model: Any) -> None:
    """bfloat16 keeps three digits, too few to tell good answers apart."""
    for part in HEADS:
        head = getattr(model, part, None)
        if isinstance(head, nn.Module) and any(p.dtype in (torch.bfloat16, torch.float16) for p in head.parameters()):
            head.float().register_forward_pre_hook(
                lambda _, given: tuple(x.float() if torch.is_tensor(x) else x for x in given)
            )
