"""Supervised fine-tuning: maximum likelihood of completions, given prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alignpro.errors import ModelNotUsable
from alignpro.models.framing import Frame
from alignpro.models.language_model import LanguageModel
from alignpro.models.logprobs import collate, forward
from alignpro.train import supervised

Pair = tuple[list[int], list[int]]
"""Framed prompt ids, completion ids with their closing token."""


def pieces(model: Any, batch: Sequence[Pair], pad_id: int, tokens: int | None = None) -> Iterator[supervised.Piece]:
    """-log p(completion | prompt) a token of the batch, in nats, in pieces of at most `tokens` tokens.

    Only completion tokens count, the closing one among them.
    """
    total = sum(len(completion) for _, completion in batch)
    for which in supervised.cut([1] * len(batch), [len(p) + len(c) for p, c in batch], tokens):
        piece = [batch[i] for i in which]
        actions = collate([p for p, _ in piece], [np.asarray(c) for _, c in piece], pad_id, model.device)
        logprobs, _ = forward(model, actions, temperature=1.0)
        loss = -logprobs.sum() / total
        yield loss, float(loss.detach())


def fit(
    model: Any,
    batches: Iterator[list[Pair]],
    steps: int,
    learning_rate: float,
    pad_id: int,
    warmup: int = 50,
    on_step: supervised.OnStep | None = None,
) -> float:
    """Minimise over endless batches; returns the last steps' mean loss. `on_step` gets (step, loss in nats a token)."""
    losses: list[float] = []

    def note(step: int, loss: float) -> bool | None:
        losses.append(loss)
        return on_step(step, loss) if on_step else None

    supervised.fit(
        model,
        lambda step: next(batches),
        lambda batch: pieces(model, batch, pad_id),
        steps,
        learning_rate,
        warmup=warmup,
        on_step=note,
    )
    tail = losses[-20:]
    return sum(tail) / len(tail) if tail else math.nan


def completion(lm: LanguageModel, text: str) -> list[int]:
    """Ids by which the model would write `text` and end: the text's own tokens and its turn's closing token.

    Where the chat template opens a thought, its end comes first.

    Raises ModelNotUsable where it has none.
    """
    return [*lm.tokenizer(lm.frame.closed(text), add_special_tokens=False)["input_ids"], closing(lm)]


def closing(lm: LanguageModel) -> int:
    """The token that ends an answer: the one its chat template closes the assistant's turn with, else the tokenizer's.

    Raises ModelNotUsable where there is none.
    """
    ends = lm.eos_ids
    bare = Frame(tokenizer=lm.tokenizer)
    if bare.has_chat_template and (said := [i for i in bare.conversation("a", "b") if i in ends]):
        return said[-1]
    if lm.tokenizer.eos_token_id is None and not ends:
        raise ModelNotUsable(f"{lm.name}: its tokenizer has no token that ends an answer; set eos_token in it")
    return int(ends[0] if lm.tokenizer.eos_token_id is None else lm.tokenizer.eos_token_id)
