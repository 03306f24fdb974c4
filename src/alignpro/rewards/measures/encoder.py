"""Sentence encoders of Hugging Face: a text as one unit vector, pooled as sentence-transformers pools it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor

from alignpro.errors import HubUnreachable, ModelNotUsable
from alignpro.models import own_code
from alignpro.models.framing import Frame
from alignpro.models.loading import FAULTS, making, resolve
from alignpro.models.padding import pad
from alignpro.rewards.classifier import BATCH, token_limit
from alignpro.runtime import memory, processes, progress
from alignpro.types import FloatArray

Pooling = Literal["mean", "cls", "max", "lasttoken"]
LAYERS = ("Transformer", "Pooling", "Normalize")
"""Layers of an encoder that are computed here; the last changes no cosine."""
GIVE = "give one such as sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class SentenceEncoder:
    """Texts as unit vectors [N, D]: a model's last states, pooled over a text's tokens. Computed in float32.

    What is past `limit` tokens is cut off, as sentence-transformers does. `before` is put before every text, `lower`
    makes it lower case.
    """

    name: str
    model: Any
    tokenizer: Any
    limit: int
    pooling: Pooling = "mean"
    lower: bool = False
    before: str = ""
    batch_size: int = BATCH

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors [N, D], computed in batches of like length; processes share the texts."""
        rows = [self._tokens(text) for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))

        def compute(mine: Sequence[int]) -> list[FloatArray]:
            made: list[FloatArray] = []
            for start in range(0, len(mine), self.batch_size):
                with memory.lower("reward.batch_size", self.batch_size, "reading answers"):
                    made += [*self._vectors([rows[i] for i in mine[start : start + self.batch_size]])]
                progress.tell(len(made), len(mine), "texts read")
            return made

        if not rows:
            return np.zeros((0, self.model.config.hidden_size))
        parts = processes.spread(order, compute)
        in_order = np.empty((len(rows), len(parts[0])))
        in_order[order] = parts
        return in_order

    def _tokens(self, text: str) -> list[int]:
        text = self.before + Frame(tokenizer=self.tokenizer).as_text(text)
        return list(
            self.tokenizer(text.lower() if self.lower else text, truncation=True, max_length=self.limit)["input_ids"]
        )

    @torch.inference_mode()
    def _vectors(self, rows: Sequence[list[int]]) -> FloatArray:
        ids, mask = pad(rows, self.model.config.pad_token_id or 0, "right", self.model.device)
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        pooled = torch.nn.functional.normalize(_pooled(states.float(), mask, self.pooling), dim=-1)
        return np.asarray(pooled.double().cpu().numpy())


def _pooled(states: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """[N, D] of states [N, T, D] and the mask [N, T] of their tokens."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "lasttoken":
        return states[torch.arange(len(states), device=states.device), mask.sum(1).clamp(min=1) - 1]
    if pooling == "max":
        return states.masked_fill(~mask[:, :, None], -torch.inf).amax(1)
    return (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def load_encoder(name: str, device: str = "cpu", batch_size: int | None = None) -> SentenceEncoder:
    """The sentence encoder that a folder, `package:NAME` or hub id holds; it pools as its `modules.json` tells, or else
    by the mean.

    Raises ModelNotUsable for a model that is none, or whose layers are not computed here, and HubUnreachable.
    """
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    said, source = f"reward.model {name}", resolve(name, "reward")
    config = own_code.check_config(source, said, None, False)
    pooling = _pooling(source, config, said)
    sentences, encoding = _read(source, "sentence_bert_config.json"), _read(source, "config_sentence_transformers.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (*FAULTS, TypeError) as error:
        raise own_code.not_loaded(said, "tokenizer", error, None) from error
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()  # what is missing is told below, in one line
    try:
        with making:
            model, info = AutoModel.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
    except FAULTS as error:
        raise own_code.not_loaded(said, "weights", error, None) from error
    finally:
        hf_logging.set_verbosity(level)
    if lacking := sorted(key for key in info["missing_keys"] if not key.startswith("pooler.")):
        raise ModelNotUsable(f"{said}: its weights lack {', '.join(lacking[:3])}, so it is no sentence encoder; {GIVE}")
    model = model.to(device).eval().requires_grad_(False)
    limits = (sentences.get("max_seq_length"), tokenizer.model_max_length, token_limit(model))
    return SentenceEncoder(
        name,
        model,
        tokenizer,
        min(int(limit) for limit in limits if limit),
        pooling,
        bool(sentences.get("do_lower_case")),
        (encoding.get("prompts") or {}).get(encoding.get("default_prompt_name") or "", ""),
        batch_size or BATCH,
    )


def _pooling(source: str, config: Mapping[str, Any], said: str) -> Pooling:
    """How the layers that `modules.json` lists pool; the mean of a bare encoder. Raises ModelNotUsable."""
    layers = _read(source, "modules.json")
    if not layers:
        classes = [str(one) for one in config.get("architectures") or ()]
        if any(not one.endswith(("Model", "ForMaskedLM", "ForPreTraining")) or "LMHead" in one for one in classes):
            raise ModelNotUsable(
                f"{said}: it is a {classes[0]} without modules.json, so it is no sentence encoder; {GIVE}"
            )
        return "mean"
    kinds = [str(layer.get("type")).rsplit(".", 1)[-1] for layer in layers]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds) - {*LAYERS} or layers[0].get("path"):
        raise ModelNotUsable(
            f"{said}: its modules.json lists {', '.join(kinds)}; of those, {', '.join(LAYERS)} in that order are"
            f" computed here, the first in the folder itself; {GIVE}"
        )
    told = _read(source, f"{layers[1].get('path')}/config.json")
    modes = [key.removeprefix("pooling_mode_") for key, on in told.items() if on is True and key.startswith("pooling_")]
    modes = [{"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}.get(mode, mode) for mode in modes]
    modes += [told["pooling_mode"]] if isinstance(told.get("pooling_mode"), str) else []
    if len(modes) != 1 or modes[0] not in get_args(Pooling):
        raise ModelNotUsable(
            f"{said}: it pools by {' and '.join(map(str, modes)) or 'nothing'}; one of {', '.join(get_args(Pooling))}"
            f" is computed here; {GIVE}"
        )
    return cast(Pooling, modes[0])


def _read(source: str, file: str) -> Any:
    """What a JSON file of a folder or of the hub holds; an empty object where there is no such file.

    Raises HubUnreachable where a model of the hub is in the local cache without it and the hub does not answer.
    """
    path = Path(source) / file
    if not Path(source).is_dir():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            path = Path(hf_hub_download(source, file))
        except LocalEntryNotFoundError as error:
            raise HubUnreachable(
                f"reward.model {source}: no {file} is in the local cache, and the hub cannot be asked whether there is"
                " one; load it once with a network, or give a folder"
            ) from error
        except EntryNotFoundError:
            return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelNotUsable(f"reward.model {source}: its {file} is not JSON ({error}); take a whole copy") from error
