"""Whether a model has an embedding for every token that its tokenizer can give it, told as it is loaded."""

from __future__ import annotations

from typing import Any

from alignpro.errors import ModelNotUsable
from alignpro.models.chat_template import REFUSALS
from alignpro.models.framing import Frame


def check_embeddings(model: Any, tokenizer: Any, where: str, frame: Frame | None = None) -> None:
    """Raise ModelNotUsable for a tokenizer with tokens that texts or the chat template reach without an embedding.

    Special tokens are broken where a text spells them, so that those may lack one, a pad token say.
    """
    frame = frame or Frame(tokenizer=tokenizer)
    rows = int(model.get_input_embeddings().weight.shape[0])
    lacking = {i: token for token, i in tokenizer.get_vocab().items() if i >= rows}
    try:
        shown = set(frame.ids("a")) if lacking else set()
    except REFUSALS:
        shown = set()
    reached = sorted(i for i, token in lacking.items() if token not in frame.special_tokens or i in shown)
    if reached:
        named = ", ".join(lacking[i] for i in reached[:3]) + (", ..." if len(reached) > 3 else "")
        raise ModelNotUsable(
            f"{where}: {len(reached)} of its tokenizer's {len(tokenizer)} tokens ({named}) have no embedding, of"
            f" which the model has {rows}; give the tokenizer that the model was trained with, or the model whose"
            " embeddings were resized for these tokens"
        )
