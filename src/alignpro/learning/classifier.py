"""The model that a reward is learned with: a sequence classifier of one score, begun from any Hugging Face model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from alignpro.errors import ModelNotUsable
from alignpro.models.loading import load_pretrained
from alignpro.rng import derive


def load_base(name: str, seed: int, device: str, dtype: str) -> tuple[Any, Any]:
    """Classifier and tokenizer, free to be trained. A head that the base lacks begins at 0: every reward is the same.

    Raises ModelNotUsable for a classifier of several labels and a tokenizer without a token to pad with, and as
    `load_pretrained`.
    """
    torch.manual_seed(derive(seed, "weights", "reward"))  # for layers that the base lacks beside the head
    try:
        model, tokenizer = load_pretrained(
            _OneScore, name, "frozen", device, dtype
        )  # `lab` is the frozen one's weights
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
    return model, tokenizer


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
    """Loads as `AutoModelForSequenceClassification` does, with one label and a new head of zeros."""

    @staticmethod
    def from_pretrained(source: str, dtype: torch.dtype) -> Any:
        from transformers import AutoConfig, AutoModelForSequenceClassification

        config = AutoConfig.from_pretrained(source)
        classifies = any(str(name).endswith("ForSequenceClassification") for name in config.architectures or ())
        if classifies and config.num_labels != 1:
            raise ValueError(f"it classifies into {config.num_labels} labels, and a reward is one score")
        with quiet():  # that the head is new is no surprise
            model, info = AutoModelForSequenceClassification.from_pretrained(
                source, dtype=dtype, num_labels=1, output_loading_info=True
            )
        new = set(info["missing_keys"])
        with torch.no_grad():
            for key, weight in model.named_parameters():
                if key in new and weight.shape[0] == 1:
                    weight.zero_()
        return model
