"""Marks around texts, and the marks of others in them: plain functions, which a model card shows too."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any


def fence(text: str, name: str = "request", beside: str = "") -> str:
    """The text between marks that neither it nor what stands beside it contains, so that nothing in them can close the
    fence early or open another."""
    tag, lowered, count = name, f"{text}\n{beside}".lower(), 1
    while f"{tag}>" in lowered:
        count += 1
        tag = f"{name}-{count}"
    return f"<{tag}>\n{text}\n</{tag}>"


def expand(template: str, texts: Mapping[str, str]) -> str:
    """The template with every {name} replaced in one pass, so that nothing in a text is expanded."""
    return re.sub(rf"\{{({'|'.join(texts)})\}}", lambda place: texts[place[1]], template)


def special_tokens(tokenizer: Any) -> list[str]:
    """What the tokenizer reads as special tokens when it is spelt out, the longest first."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    listed = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    return sorted((token for token in listed if len(token.strip()) > 1), key=lambda token: (-len(token), token))


def broken(text: str, tokens: Sequence[str]) -> str:
    """The text with every one of the tokens that it spells broken by a space after its first character.

    What holds none comes back as it is. A space, and nothing invisible: no tokenizer's normaliser takes it away.
    """
    while any(token in text for token in tokens):  # what remains of one may hold another
        text = re.sub("|".join(map(re.escape, tokens)), lambda token: f"{token[0][0]} {token[0][1:]}", text)
    return text


def marks_in(text: str) -> set[str]:
    """Marks of frames and turns that a text spells: of this package, of common chat templates, and a name in front of
    a turn."""
    return {match.strip().lower() for match in _SPELT.findall(text)}


def usage(has_chat_template: bool) -> tuple[str, str]:
    """Python that frames as `Frame` does, for where this package is not: functions, which are those used here, and the
    lines that make `inputs` of `prompt`, of `tokenizer` and of `frame`, which is what `described` gives."""
    functions = "\n\n".join(inspect.getsource(function) for function in (fence, expand, special_tokens, broken))
    return functions, _FILLED + (_IN_TURNS if has_chat_template else _AS_IT_IS)


_SPELT = re.compile(
    r"</?(?:request|conversation)(?:-\d+)?>|</?rewrite>|</?think(?:ing)?>|<\|[^|<>\n]{1,40}\|>|<｜[^｜\n]{1,40}｜>"
    r"|</?s>|\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>|</?(?:start|end)_of_turn>|^(?:system|assistant|user|human) ?:",
    re.IGNORECASE | re.MULTILINE,
)
_FILLED = """\
plain = broken(prompt, special_tokens(tokenizer))
text = expand(frame["template"], {"context": "", "prompt": plain, "fenced": fence(plain)})
"""
_IN_TURNS = """\
inputs = tokenizer.apply_chat_template(
    [*frame["before"], {"role": "user", "content": text}],
    **frame["thoughts"]["template_arguments"],
    add_generation_prompt=True,
    return_dict=True,
    return_tensors="pt",
)"""
_AS_IT_IS = 'inputs = tokenizer(frame["before"] + text, return_tensors="pt")'
