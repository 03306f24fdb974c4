"""Reward models as Hugging Face sequence classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from alignpro import processes
from alignpro.errors import ModelNotUsable
from alignpro.models.local import display_name, load_pretrained
from alignpro.models.padding import pad
from alignpro.types import FloatArray, RewardResult


@dataclass(frozen=True)
class RewardModel:
    """r(x, y) as the single score of a sequence classifier over the conversation of x and y."""

    name: str
    model: Any
    tokenizer: Any
    batch_size: int = 128

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> RewardResult:
        """One score a pair. Equal pairs are scored once; batches hold pairs of like length; processes share them."""
        index: dict[tuple[str, str], int] = {}
        where = [index.setdefault(pair, len(index)) for pair in zip(prompts, responses, strict=True)]
        rows = [conversation(self.tokenizer, x, y) for x, y in index]
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
        values = np.full(len(rows), np.nan)
        reasons: list[str | None] = [None] * len(rows)
        order = sorted((i for i, row in enumerate(rows) if len(row) <= limit), key=lambda i: len(rows[i]))

        def compute(mine: Sequence[int]) -> list[float]:
            chunks = (mine[start : start + self.batch_size] for start in range(0, len(mine), self.batch_size))
            return [score for chunk in chunks for score in self._scores([rows[i] for i in chunk]).tolist()]

        values[order] = processes.spread(order, compute)
        for i, row in enumerate(rows):
            if len(row) > limit:
                reasons[i] = "longer than the reward model's context"
            elif not np.isfinite(values[i]):
                values[i], reasons[i] = np.nan, "reward model gave no finite score"
        return RewardResult(values[where], tuple(reasons[i] for i in where))

    @torch.inference_mode()
    def _scores(self, rows: Sequence[list[int]]) -> FloatArray:
        pad_id = self.model.config.get_text_config().pad_token_id
        ids, mask = pad(rows, pad_id, "right", self.model.device)
        logits = self.model(input_ids=ids, attention_mask=mask.long()).logits
        return np.asarray(logits[:, 0].double().cpu().numpy(), dtype=np.float64)


def conversation(tokenizer: Any, prompt: str, response: str) -> list[int]:
    """Ids of x and y as the reward model reads them: its chat template, or both texts as a pair without one."""
    if getattr(tokenizer, "chat_template", None):
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        return list(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"])
    return list(tokenizer(prompt, response)["input_ids"])


def load_reward_model(name: str, batch_size: int, device: str = "cpu", dtype: str = "auto") -> RewardModel:
    """A sequence classifier with one score. Raises ModelNotUsable, HubUnreachable."""
    from transformers import AutoModelForSequenceClassification

    model, tokenizer = load_pretrained(AutoModelForSequenceClassification, name, "reward", device, dtype)
    if model.config.num_labels != 1:
        raise ModelNotUsable(
            f"reward.model {name}: it has {model.config.num_labels} labels, and a reward is one score; give a model"
            " with num_labels=1, or wrap it in a python:module:function"
        )
    config = model.config.get_text_config()
    if config.pad_token_id is None:  # the classifier finds the last token by it
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if config.pad_token_id is None:
        raise ModelNotUsable(f"reward.model {name}: neither a pad nor an end-of-text token is set in its tokenizer")
    model.requires_grad_(False)
    return RewardModel(display_name(name, "reward"), model, tokenizer, batch_size)
