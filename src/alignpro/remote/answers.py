"""Reading a chat completion: what can be used, and the name of what is wrong with the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from alignpro.models.written import NO_ANSWER
from alignpro.remote.accounting import Usage
from alignpro.types import Generation

FILTERED, REFUSED, EMPTY = "content filter", "refusal", "empty answer"
TOOL = "tool call instead of text"
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields beside `content` in which servers tell what the model thought."""
CUT_OFF = "cut off by max_new_tokens before any text"
NOTHING = Usage()
_FILTERS = frozenset({"content_filter", "safety", "blocklist", "prohibited_content", "recitation", "sensitive"})
_LENGTHS = frozenset({"length", "max_tokens"})


class Unreadable(Exception):
    """A body that is not a chat completion; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One sample as it is kept; `usage` is its share of the request's tokens, and shares add up to the whole.

    `thought` is what the server told apart from the text; it is not kept.
    """

    text: str
    finish: Literal["stop", "length"] = "stop"
    failure: str | None = None
    usage: Usage = NOTHING
    thought: str = field(default="", compare=False)

    def generation(self) -> Generation:
        """As the rest of the package sees it."""
        return Generation(self.text, self.finish, failure=self.failure)


def read(body: Any, most: int, usage: Usage | None = None) -> list[Answer]:
    """At most `most` samples of a completion's JSON, whose `usage` may have been read before.

    Raises Unreadable for what is no completion. A choice that holds no text is an answer with its failure; so is every
    sample where there is no choice and yet tokens were taken.
    """
    if not isinstance(body, dict):
        raise Unreadable("the answer is no JSON object")
    choices, usage = body.get("choices"), usage or usage_of(body)
    if choices == [] and usage not in (None, NOTHING):
        return [Answer("", failure=EMPTY, usage=share) for share in _split(usage or NOTHING, most)]
    if not isinstance(choices, list) or not choices:
        raise Unreadable("the answer has no choices")
    kept = choices[:most]
    return [_choice(choice, share) for choice, share in zip(kept, _split(usage or NOTHING, len(kept)), strict=True)]


def _choice(choice: Any, usage: Usage) -> Answer:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Unreadable("a choice has no message")
    reason = str(choice.get("finish_reason")).lower()
    text = _text(message.get("content"))
    thought = next((message[name] for name in THOUGHTS if isinstance(message.get(name), str)), "")
    if reason in _FILTERS:
        failure: str | None = FILTERED
    elif message.get("refusal"):
        failure = REFUSED
    elif reason == "error":
        raise Unreadable("the server broke off a choice")
    elif text.strip():
        failure = None
    elif message.get("tool_calls"):
        failure = TOOL
    else:
        cut_off = NO_ANSWER if thought else CUT_OFF
        failure = cut_off if reason in _LENGTHS else EMPTY
    return Answer(text, "length" if reason in _LENGTHS else "stop", failure, usage, thought)


def _text(content: Any) -> str:
    if isinstance(content, list):
        content = "".join(p["text"] for p in content if _says(p))
    if content is None:
        return ""
    if not isinstance(content, str):
        raise Unreadable("a message's content is no text")
    return content.encode("utf-8", "replace").decode()  # lone surrogates could be stored nowhere


def _says(part: Any) -> bool:
    """Whether a part of a content is text, and no thought."""
    kind, text = (part.get("type"), part.get("text")) if isinstance(part, dict) else (None, None)
    return isinstance(text, str) and kind not in ("thinking", "reasoning")


def usage_of(body: Any) -> Usage | None:
    """The tokens that a body tells were taken; None where it does not.

    What some servers think in is in their total alone, and is paid for as what is written.
    """
    told = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(told, dict):
        return None
    read, written = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens"))
    total = _count(told.get("total_tokens"))
    if read is None or (written is None and total is None):
        return None
    return Usage(read, max(written or 0, (total or 0) - read))


def _count(value: Any) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == value // 1
    return int(value) if whole else None


def _split(usage: Usage, n: int) -> list[Usage]:
    if n == 1:
        return [usage]
    return [
        Usage(usage.input // n + (i < usage.input % n), usage.output // n + (i < usage.output % n)) for i in range(n)
    ]
