"""How a classifier reads texts: its chat template, a template from the settings, or both texts as a pair.

Special tokens spelt out in a text are broken, so that no answer closes its own turn; those of a template are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from alignpro.errors import ModelNotUsable
from alignpro.models.framing import Frame, reader, transcript
from alignpro.models.padding import pad
from alignpro.types import Prompt


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids [T] of one input, and the segment of each (0 or 1) where the tokenizer tells two texts apart."""

    ids: list[int]
    segments: list[int] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def inputs(rows: Sequence[Row], pad_id: int, device: torch.device | str) -> dict[str, Tensor]:
    """What a classifier is given of N rows, padded on the right: ids [N, T], the mask of their tokens [N, T], and their
    segments [N, T] where all have them."""
    ids, mask = pad([row.ids for row in rows], pad_id, "right", device)
    given = {"input_ids": ids, "attention_mask": mask.long()}
    if all(row.segments is not None for row in rows):
        given["token_type_ids"] = pad([row.segments for row in rows], 0, "right", device)[0]
    return given


def pair(tokenizer: Any, prompt: str | Prompt, response: str, template: str | None = None) -> Row:
    """x and y as one input.

    By `template` where there is one; else as turns of the chat template, the user's last and the assistant's at the
    end, which ends as it ends; else as two texts, the way encoders are trained, as which a conversation is one text
    with a name before each turn. A beginning-of-text token stands at the start alone.
    """
    x = Prompt.of(prompt)
    if template is not None:
        return filled(tokenizer, template, prompt=transcript(x), response=response)
    frame = reader(tokenizer)
    if frame.has_chat_template:
        return Row(_one_start(tokenizer, frame.conversation(x, response)))
    made = tokenizer(frame.as_text(transcript(x)), frame.as_text(response), return_special_tokens_mask=True)
    added = made["special_tokens_mask"]
    start = tokenizer.bos_token_id
    if start is None or start in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        kept = list(range(len(added)))
    else:  # tokenizers of decoders begin the second text as they begin the first
        kept = [i for i, token in enumerate(made["input_ids"]) if i == 0 or not (added[i] and token == start)]
    segments = made.get("token_type_ids")
    ids = [made["input_ids"][i] for i in kept]
    return Row(_one_start(tokenizer, ids), [segments[i] for i in kept] if segments and len(ids) == len(kept) else None)


def within(
    limit: int,
    tokenizer: Any,
    prompt: Prompt,
    response: str,
    template: str | None = None,
    overflow: Literal["mask", "cut"] = "mask",
) -> Row | None:
    """x and y as one input of at most `limit` tokens. One that is longer is None, or has the end of y cut off."""
    row = pair(tokenizer, prompt, response, template)
    if len(row) <= limit:
        return row
    if overflow == "mask":
        return None
    return fitted(lambda text: pair(tokenizer, prompt, text, template), response, tokenizer, limit)


def filled(tokenizer: Any, template: str, **texts: str) -> Row:
    """A template with every {name} replaced by its text, in one pass, so that nothing in a text is expanded."""
    text = Frame(template, tokenizer=tokenizer).fill(**texts)
    return Row(_one_start(tokenizer, list(tokenizer(text)["input_ids"])))


def fitted(row: Callable[[str], Row], text: str, tokenizer: Any, limit: int) -> Row | None:
    """`row(text)` with the end of the text cut off so far that it has at most `limit` tokens; None where no text is
    left."""
    made = row(text)
    tokens = Frame(tokenizer=tokenizer).tokens(text)
    while len(made) > limit and tokens:
        tokens = tokens[: max(0, len(tokens) - max(1, len(made) - limit))]
        made = row(tokenizer.decode(tokens))
    return made if tokens and len(made) <= limit else None


def told_as_text(name: str, prompts: Sequence[Prompt]) -> list[str]:
    """What to say of a model that reads conversations among the prompts as one text."""
    count = sum(not prompt.alone for prompt in prompts)
    if not count:
        return []
    return [
        f"{name} has no turns for what stands before {count} prompts, and reads each as one text, System: ... User: ..."
    ]


def check_chat_template(tokenizer: Any, name: str) -> None:
    """Raise ModelNotUsable where the chat template refuses a user's and an assistant's turn, or leaves one out."""
    frame = Frame(tokenizer=tokenizer)
    if not frame.has_chat_template:
        return
    marks = {"user": "the-question", "assistant": "the-answer"}
    hint = "give reward.template, a text with {prompt} and {response}, in its place"
    try:
        text = frame.rendered(marks["user"], marks["assistant"])
    except Exception as error:  # a template may raise whatever it likes
        raise ModelNotUsable(
            f"{name}: its chat template refuses a user's and an assistant's turn ({' '.join(str(error).split())[:80]});"
            f" {hint}"
        ) from error
    if lost := [role for role, mark in marks.items() if mark not in text]:
        raise ModelNotUsable(f"{name}: its chat template leaves out the {' and the '.join(lost)} turn; {hint}")


def _one_start(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Without a beginning-of-text token that both template and tokenizer put there."""
    first = 0
    while first + 1 < len(ids) and ids[first] == ids[first + 1] == tokenizer.bos_token_id:
        first += 1
    return list(ids[first:])
