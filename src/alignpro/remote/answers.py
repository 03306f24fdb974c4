"""Reading a chat completion: what can be used, and the name of what is wrong with the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from alignpro.models.written import NO_ANSWER
from alignpro.remote.accounting import Usage
from alignpro.types import Generation

FILTERED, REFUSED, EMPTY = "content filter", "refusal", "empty answer"
TOOL = "tool call instead of text"
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields beside `content` in which servers tell what the model thought."""
NOTHING = Usage()


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


def read(body: Any, most: int) -> tuple[list[Answer], Usage | None]:
    """At most `most` samples of a completion's JSON, and its `usage`, None where the server does not tell it.

    Raises Unreadable for what is no completion. A choice that holds no text is an answer with its failure.
    """
    if not isinstance(body, dict):
        raise Unreadable("the answer is no JSON object")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Unreadable("the answer has no choices")
    kept = [_choice(choice) for choice in choices[:most]]
    usage = _usage(body.get("usage"))
    shares = _split(usage or Usage(), len(kept))
    return [replace(a, usage=share) for a, share in zip(kept, shares, strict=True)], usage


def _choice(choice: Any) -> Answer:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise Unreadable("a choice has no message")
    reason = choice.get("finish_reason")
    text = _text(message.get("content"))
    thought = next((told for name in THOUGHTS if isinstance(told := message.get(name), str)), "")
    if reason == "content_filter":
        failure: str | None = FILTERED
    elif message.get("refusal"):
        failure = REFUSED
    elif reason == "error":
        raise Unreadable("the server broke off a choice")
    elif text.strip():
        failure = None
    else:
        cut_off = NO_ANSWER if thought and reason == "length" else EMPTY
        failure = TOOL if message.get("tool_calls") else cut_off
    return Answer(text, "length" if reason == "length" else "stop", failure, thought=thought)


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


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, dict):
        return None
    read, written = told.get("prompt_tokens"), told.get("completion_tokens")
    if not isinstance(read, int) or not isinstance(written, int) or read < 0 or written < 0:
        return None
    return Usage(read, written)


def _split(usage: Usage, n: int) -> list[Usage]:
    return [
        Usage(usage.input // n + (i < usage.input % n), usage.output // n + (i < usage.output % n)) for i in range(n)
    ]
