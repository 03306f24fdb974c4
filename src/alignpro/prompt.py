"""A user's prompt x, and an answer y as others see it: no model and no array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Finish = Literal["stop", "length", "given"]


class Turn(NamedTuple):
    """A turn of a conversation: who spoke, and what was said."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A user's prompt x: the `text` that is rewritten, what stands before it, and the row of data behind it.

    `system` and `history`, the earlier turns, are never changed: models are shown them. `row` holds the other columns
    of the data (an answer, a label, constraints) as JSON has them, for rewards and judges that name them; no model is
    shown it. Equal prompts are equal in all four; a text alone is a prompt of one text (`Prompt.of`).
    """

    text: str
    system: str | None = None
    history: tuple[Turn, ...] = ()
    row: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, x: str | Prompt) -> Prompt:
        """The prompt of a text, or the prompt as it is."""
        return x if isinstance(x, Prompt) else cls(x)

    def __hash__(self) -> int:
        return hash((self.text, self.system, self.history))

    @property
    def alone(self) -> bool:
        """Whether nothing stands before the text."""
        return self.system is None and not self.history

    @property
    def key(self) -> str:
        """What tells it from every other prompt in a file: the text alone, or with a digest of the rest behind it."""
        if self.alone and not self.row:
            return self.text
        whole = json.dumps([self.text, self.system, self.history, self.row], sort_keys=True, default=str)
        return f"{self.text}\x1f{hashlib.blake2b(whole.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"

    def asking(self, text: str) -> Prompt:
        """Another text in its place, x' say, as a model is asked it: without the row."""
        return Prompt(text, self.system, self.history)


def as_prompts(xs: Iterable[str | Prompt]) -> tuple[Prompt, ...]:
    """Each text as a prompt of one text."""
    return tuple(map(Prompt.of, xs))


def columns_of(prompts: Iterable[Prompt]) -> tuple[str, ...]:
    """Names of the columns that any of the rows has, in the order in which they come."""
    return tuple(dict.fromkeys(name for prompt in prompts for name in prompt.row))


@dataclass(frozen=True, slots=True)
class Response:
    """An answer y as rewards and judges see it: its text, and whether it ended by itself. Nothing of x' is in it."""

    text: str
    finish: Finish = "stop"

    @classmethod
    def of(cls, y: str | Response) -> Response:
        """The response of a text, or the response as it is."""
        return y if isinstance(y, Response) else cls(y)


def as_responses(ys: Iterable[str | Response]) -> tuple[Response, ...]:
    """Each text as a response that ended by itself."""
    return tuple(map(Response.of, ys))
