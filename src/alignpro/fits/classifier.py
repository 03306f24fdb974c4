"""The model that a reward is learned with: a sequence classifier of one score, begun from any Hugging Face model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from alignpro.errors import ModelNotUsable
from alignpro.models.loading import load_pretrained
from alignpro.models.precision import of_trained
from alignpro.models.vocabulary import check_embeddings
from alignpro.rewards.classifier import HEADS, score_in_float32
from alignpro.rng import derive


@dataclass(frozen=True)
class Base:
    """A classifier of one score, and the layers beside its head that it had to be given: they are trained whole."""

    model: Any
    tokenizer: Any
    new: tuple[str, ...]


def load_base(name: str, seed: int, device: str, dtype: str) -> Base:
    """The classifier, free to be trained. A head that the base lacks begins at 0: every reward is the same.

    Its head is float32 whatever the rest is.

    Raises ModelNotUsable for a classifier of several labels and a tokenizer without a token to pad with, and as
    `load_pretrained`.
    """
    torch.manual_seed(derive(seed, "weights", "reward"))  # for layers that the base lacks beside the head
    auto = _OneScore()
    try:
        # `lab` is the frozen one's weights
        model, tokenizer = load_pretrained(auto, name, "frozen", device, of_trained(dtype, device))
        check_embeddings(model, tokenizer, f"frozen.model {name}")
    except ModelNotUsable as error:
        raise ModelNotUsable(str(error).replace("frozen.model", "reward_learning.base", 1)) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    config = model.config.get_text_config()
    if config.pad_token_id is None:  # the classifier finds the last token by it
        config.pad_token_id = tokenizer.pad_token_id
    if config.pad_token_id is None:
        raise ModelNotUsable(
            f"reward_learning.base {name}: neither a pad nor an end-of-text token is set in its tokenizer"
        )
    model.config.pad_token_id = config.pad_token_id
    config.use_cache = False  # it would fill twice where a layer is computed again
    score_in_float32(model)
    layers = {key.rpartition(".")[0] for key in auto.new}
    return Base(model, tokenizer, tuple(sorted(layer for layer in layers if layer.split(".")[0] not in HEADS)))


@contextmanager
def quiet() -> Iterator[None]:
    """transformers keeps its warnings to itself inside."""
    from transformers.utils import logging as hf_logging

    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


class _OneScore:
    """Loads as `AutoModelForSequenceClassification` does, with one label and a new head of zeros.

    `new` are then the weights that were not there.
    """

    def __init__(self) -> None:
        self.new: set[str] = set()

    def from_pretrained(self, source: str, **given: Any) -> Any:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        config = AutoConfig.from_pretrained(source, trust_remote_code=given["trust_remote_code"])
        classifies = any(str(name).endswith("ForSequenceClassification") for name in config.architectures or ())
        if classifies and config.num_labels != 1:
            raise ValueError(f"it classifies into {config.num_labels} labels, and a reward is one score")
        with quiet():  # that the head is new is no surprise
            model, info = AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=1, output_loading_info=True, **given
            )
        self.new = set(info["missing_keys"])
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if key in self.new and weight.shape[0] == 1:
                    weight.zero_()
        return model
