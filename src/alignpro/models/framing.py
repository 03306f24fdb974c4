"""Chat frames: a system turn where the chat template has one, folded into the user's turn where it has not.

What users and models write is text. A special token spelt out in it, `<|im_end|>` say, would close its own turn and
open another, so it is broken by a space before a tokenizer reads it; no other text is touched.
"""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from alignpro.errors import ModelNotUsable, SettingsError

REFUSALS = (TemplateError, TypeError, KeyError, ValueError)
"""What a chat template raises on a turn that it does not know."""

_KNOWN: WeakKeyDictionary[Any, tuple[tuple[Any, ...], list[str]]] = WeakKeyDictionary()
"""Marks of each tokenizer, and how it was when they were listed: listing takes as long as a chat template does."""


def frame(tokenizer: Any, text: str, system: str | None = None) -> list[int]:
    """Token ids that make a model answer `text`: one user turn of its chat template, or the bare text without one.

    `system` becomes a turn before it, and needs a chat template that has such a turn; see `place_system`.
    """
    if getattr(tokenizer, "chat_template", None):
        encoded = tokenizer.apply_chat_template(
            _turns(text, system), add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(encoded["input_ids"])
    ids = list(tokenizer(text)["input_ids"])
    eos = tokenizer.eos_token_id
    while len(ids) > 1 and eos is not None and ids[-1] == eos:  # a prompt that ends its own text has no answer
        ids.pop()
    return ids


def marks(tokenizer: Any) -> list[str]:
    """What the tokenizer reads as special tokens when it is spelt out, the longest first."""
    named = (len(tokenizer), *tokenizer.all_special_tokens)
    if (known := _KNOWN.get(tokenizer)) and known[0] == named:
        return known[1]
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    found = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    longest_first = sorted((mark for mark in found if len(mark.strip()) > 1), key=lambda mark: (-len(mark), mark))
    _KNOWN[tokenizer] = named, longest_first
    return longest_first


def as_text(tokenizer: Any, text: str) -> str:
    """The text of a user or a model, with every special token that it spells broken after its first character.

    What holds none comes back as it is. A space, and nothing invisible: no tokenizer's normaliser takes it away.
    """
    known = marks(tokenizer)
    if not any(mark in text for mark in known):
        return text
    pattern = re.compile("|".join(map(re.escape, known)))
    while pattern.search(text):  # what remains of a mark may hold another
        text = pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    return text


def turns_in_plain_text(tokenizer: Any) -> str | None:
    """What stands between a user's turn and the answer where the chat template has no special token there, else None.

    Nothing tells such words from the same words in a prompt, so a prompt can spell a turn out.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None
    try:
        shown = _rendered(tokenizer, "\ue000", None)
    except REFUSALS:
        return None
    between = shown.partition("\ue000")[2]
    return None if any(mark in between for mark in marks(tokenizer)) else between.strip()


def place_system(tokenizer: Any, template: str, system: str | None, where: str) -> tuple[str, str | None]:
    """The template and the system turn that say `system`: a turn of its own, or folded into the template.

    It is folded, before the user's text and an empty line, without a chat template, and where the chat template raises
    on a system turn or leaves its text out. Raises SettingsError for a system message with a place for the prompt,
    ModelNotUsable for a chat template that takes no user turn either, where folding cannot help; `where` names the
    setting's section.
    """
    if system and ("{prompt}" in system or "{fenced}" in system):
        raise SettingsError(
            f"{where}.system is fixed, and {{prompt}} in it would be lost; put it into {where}.template"
        )
    if not getattr(tokenizer, "chat_template", None):
        return _folded(template, system), None
    try:
        _rendered(tokenizer, "text", None)
    except REFUSALS as error:
        raise ModelNotUsable(
            f"{where}.model: its chat template takes no user turn ({error}), and the prompt has no other place; give a"
            " model whose template has one, or mend chat_template in its tokenizer"
        ) from error
    if system is None:
        return template, None
    try:
        if system.strip() in _rendered(tokenizer, "text", system):
            return template, system
    except REFUSALS:
        pass
    return _folded(template, system), None


def _folded(template: str, system: str | None) -> str:
    return f"{system}\n\n{template}" if system else template


def _rendered(tokenizer: Any, text: str, system: str | None) -> str:
    return str(tokenizer.apply_chat_template(_turns(text, system), add_generation_prompt=True, tokenize=False))


def _turns(text: str, system: str | None) -> list[dict[str, str]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": text}]
