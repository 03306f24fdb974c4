"""Chat frames: a system turn where the chat template has one, folded into the user's turn where it has not."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from alignpro.errors import ModelNotUsable, SettingsError

REFUSALS = (TemplateError, TypeError, KeyError, ValueError)
"""What a chat template raises on a turn that it does not know."""


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
