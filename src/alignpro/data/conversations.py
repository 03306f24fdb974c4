"""A conversation, in the forms in which data holds one, as a `Prompt`: its last user's turn, and what stands before it.

OpenAI's turns have `role` and `content`, a text or parts of it; ShareGPT's have `from` and `value`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from alignpro.data.texts import blank, clean, kind
from alignpro.errors import UnusableRow
from alignpro.types import Prompt, Turn

EMPTY_PROMPT = "empty prompt"
EMPTY_TURN = "an empty turn"
NO_TURN = "no turn of the user"
NOT_LAST = "the last turn is not the user's"
NOT_BY_TURNS = "turns that do not alternate, the user's first"
LATE_SYSTEM = "a system message after the first turn"
TOOLS = "a turn that calls tools or answers for one"
OTHER_PARTS = "a turn with more than text (images, files)"

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
}
"""Who is meant by a turn's `role` or `from`, in any case."""

_TOOL_ROLES = {"tool", "function", "function_call", "function_response", "observation", "ipython"}
_TEXT_PARTS = {"text", "input_text", "output_text"}


def prompt_of(asked: object, system: object = None, history: object = None, cut: bool = False) -> Prompt:
    """The prompt of a text, or of turns whose last is the user's; with `cut` an assistant's turn after it is left out.

    `system` is a system message, and `history` are turns, that stand before what `asked` holds. Raises UnusableRow with
    what is wrong.
    """
    if isinstance(asked, str) and system in (None, "") and history in (None, "", []):
        text = clean(asked).strip()
        if blank(text):
            raise UnusableRow(EMPTY_PROMPT)
        return Prompt(text)
    turns: list[tuple[Role, str]] = []
    if system not in (None, ""):
        turns.append(("system", clean(system, "a system message is wanted")))
    turns += turns_of(history) if history not in (None, "") else []
    turns += [("user", clean(asked))] if isinstance(asked, str) else turns_of(asked)
    spoken = [turn for turn in turns if turn[0] != "system"]
    systems = turns[: len(turns) - len(spoken)]
    if any(role != "system" for role, _ in systems):
        raise UnusableRow(LATE_SYSTEM)
    if cut and spoken and spoken[-1][0] == "assistant":
        spoken.pop()
    if not any(role == "user" for role, _ in spoken):
        raise UnusableRow(NO_TURN)
    if spoken[-1][0] != "user":
        raise UnusableRow(NOT_LAST)
    if any(role != ("user", "assistant")[i % 2] for i, (role, _) in enumerate(spoken)):
        raise UnusableRow(NOT_BY_TURNS)
    text = spoken.pop()[1].strip()
    if blank(text):
        raise UnusableRow(EMPTY_PROMPT)
    if any(blank(content) for _, content in spoken):
        raise UnusableRow(EMPTY_TURN)
    parts = dict.fromkeys(content.strip() for _, content in systems)
    history = tuple(Turn(role, content) for role, content in spoken if role != "system")
    return Prompt(text, "\n\n".join(filter(None, parts)) or None, history)


def turns_of(value: object) -> list[tuple[Role, str]]:
    """Who spoke and what was said, in OpenAI's or ShareGPT's form, as [role, content] or as [request, answer]; a list,
    or its JSON text, as a cell of CSV has it. Raises UnusableRow."""
    turns: list[tuple[Role, str]] = []
    for turn in listed(value):
        if isinstance(turn, Mapping):
            turns.append(_turn(turn))
        elif isinstance(turn, (list, tuple)) and len(turn) == 2 and str(turn[0]) in ROLES:
            turns.append((ROLES[turn[0]], clean(turn[1])))
        elif isinstance(turn, (list, tuple)) and len(turn) == 2:
            turns += [("user", clean(turn[0])), ("assistant", clean(turn[1]))]
        else:
            raise UnusableRow(f"a list with {kind(turn)} where a turn is wanted")
    return turns


def listed(value: object) -> list[Any]:
    """The value, or what its JSON text holds, if it is a list. Raises UnusableRow."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise UnusableRow("a text where turns are wanted") from None
    if not isinstance(value, list):
        raise UnusableRow(f"{kind(value)} where turns are wanted")
    return value


def _turn(turn: Mapping[str, Any]) -> tuple[Role, str]:
    name = turn.get("role") or turn.get("from")
    content = turn.get("content") if turn.get("content") is not None else turn.get("value")
    if not isinstance(name, str):
        raise UnusableRow("a turn of nobody (no role, no from)")
    if name.lower() in _TOOL_ROLES or turn.get("tool_calls") or turn.get("function_call"):
        raise UnusableRow(TOOLS)
    if name.lower() not in ROLES:
        raise UnusableRow(f"a turn of {name[:20]!r}, who is no one known")
    if isinstance(content, list):
        content = "\n".join(_texts(content))
    return ROLES[name.lower()], clean(content, "what a turn says is wanted")


def _texts(parts: Iterable[object]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Mapping) and str(part.get("type")) in _TEXT_PARTS:
            part = part.get("text")
        elif isinstance(part, Mapping):
            raise UnusableRow(OTHER_PARTS)
        yield clean(part)
