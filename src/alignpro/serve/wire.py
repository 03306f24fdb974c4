"""The requests whose prompts are rewritten: where in them x stands, and the same bytes with x' in its place."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from alignpro.data.conversations import EMPTY_PROMPT, EMPTY_TURN, prompt_of
from alignpro.data.texts import CUT_CHARACTER, NUL, blank, mended
from alignpro.errors import UnusableRow
from alignpro.prompt import Prompt
from alignpro.serve.spans import Value, elements, members, spelt, spliced, whole_object

NOT_JSON = "not-json"
NO_PROMPT = "no-prompt"
LAST_MESSAGE = "last-message"
EMPTY = "empty"
TOKEN_IDS = "token-ids"
PREVIOUS = "previous-response"
PARTS = "parts"
TURNS = "turns"
CHARACTERS = "characters"
TEXT_BESIDE = "text-beside"
"""Why a request has nothing that is rewritten; docs/serving.md says what each means."""

_REASONS = {EMPTY_PROMPT: EMPTY, EMPTY_TURN: EMPTY, CUT_CHARACTER: CHARACTERS, NUL: CHARACTERS}
_TEXT_PARTS = ("text", "input_text", "output_text")
_SYSTEM = ("system", "developer")


Changes = Mapping[tuple[int, int], str]
"""What comes in the place of the characters from a start to an end."""


class _Kept(Exception):
    """There is nothing to rewrite, for the reason that it holds."""


class Spelt(NamedTuple):
    """A user's text and where it is spelt; `beside` are characters that go when it is replaced."""

    text: str
    place: tuple[int, int]
    beside: tuple[int, int] | None = None

    def replaced(self, new: str, document: str) -> Changes:
        """What makes the new text stand in its place in the document."""
        return {self.place: spelt(new, document)} | ({self.beside: ""} if self.beside else {})


@dataclass(frozen=True)
class Slot:
    """A prompt and where it is spelt."""

    prompt: Prompt
    spelt: Spelt


@dataclass(frozen=True)
class Asked:
    """A request for answers. `slots` are the prompts to be rewritten, none where `reason` says why."""

    kind: str
    text: str
    slots: tuple[Slot, ...] = ()
    reason: str | None = None
    model: str | None = None
    streamed: bool = False

    def with_rewrites(self, rewrites: Sequence[str | None], also: Changes | None = None) -> bytes:
        """Its bytes with each rewrite in the place of its prompt, where there is one, and other changes. All else stays
        as it was sent."""
        changes = dict(also or {})
        for slot, rewrite in zip(self.slots, rewrites, strict=True):
            if rewrite is not None and rewrite != slot.prompt.text:
                changes |= slot.spelt.replaced(rewrite, self.text)
        return spliced(self.text, changes).encode()


def kind_of(path: str) -> str | None:
    """What a POST to the path asks for: chat, completion or responses, whatever stands before; None for all else."""
    return next((kind for ending, kind in _ENDINGS.items() if path.endswith(ending)), None)


def read(kind: str, body: bytes) -> Asked:
    """The prompts of a request's body. Raises RecursionError for what is too deep to be read."""
    try:
        text = body.decode()
        fields = whole_object(text)
    except (ValueError, StopIteration):
        return Asked(kind, "", reason=NOT_JSON)
    model, stream = (fields[name].value if name in fields else None for name in ("model", "stream"))
    told = mended(model)[:200] if isinstance(model, str) else None
    try:
        slots, reason = _SLOTS[kind](text, fields), None
    except _Kept as kept:
        slots, reason = (), str(kept)
    except UnusableRow as error:
        slots, reason = (), _REASONS.get(str(error), TURNS)
    return Asked(kind, text, slots, reason, told, stream is True)


def _chat(text: str, fields: Mapping[str, Value]) -> tuple[Slot, ...]:
    return (_last_of(text, fields.get("messages"), [], "text"),)


def _responses(text: str, fields: Mapping[str, Value]) -> tuple[Slot, ...]:
    if any(name in fields and fields[name].value is not None for name in ("previous_response_id", "conversation")):
        raise _Kept(PREVIOUS)
    told = fields["instructions"].value if "instructions" in fields else None
    system = [told] if isinstance(told, str) and not blank(told) else []
    asked = fields.get("input")
    if asked is not None and isinstance(asked.value, str):
        return (_slot(asked, system),)
    return (_last_of(text, asked, system, "input_text"),)


def _completion(text: str, fields: Mapping[str, Value]) -> tuple[Slot, ...]:
    asked = fields.get("prompt")
    if any(name in fields and fields[name].value for name in ("suffix", "echo")):
        raise _Kept(TEXT_BESIDE)
    if asked is not None and isinstance(asked.value, str):
        return (_slot(asked),)
    if asked is None or not isinstance(asked.value, list) or not asked.value:
        raise _Kept(NO_PROMPT)
    if not all(isinstance(one, str) for one in asked.value):
        raise _Kept(TOKEN_IDS)
    return tuple(map(_slot, elements(text, asked.start)))


_SLOTS: Mapping[str, Callable[[str, Mapping[str, Value]], tuple[Slot, ...]]] = {
    "chat": _chat,
    "completion": _completion,
    "responses": _responses,
}
_ENDINGS = {"/chat/completions": "chat", "/completions": "completion", "/responses": "responses"}


def _slot(asked: Value, system: Iterable[str] = ()) -> Slot:
    """That of a prompt which is a text alone."""
    return Slot(_prompt(system, (), asked.value), Spelt(asked.value, asked[1:]))


def _last_of(text: str, turns: Value | None, system: Sequence[str], part: str) -> Slot:
    """The text of the last turn, which must be the user's, with what stands before it."""
    if turns is None or not isinstance(turns.value, list) or not turns.value:
        raise _Kept(NO_PROMPT)
    last = turns.value[-1]
    if not isinstance(last, dict) or last.get("role") != "user" or last.get("type", "message") != "message":
        raise _Kept(LAST_MESSAGE)
    told = _spelt(text, elements(text, turns.start)[-1], part)
    return Slot(_prompt(system, turns.value[:-1], told.text), told)


def _spelt(text: str, turn: Value, part: str) -> Spelt:
    """The text of a turn: of its parts as one, in the place of the first, where the others go.

    They must stand side by side, and those that go must hold nothing but their text.
    """
    content = members(text, turn.start).get("content")
    if content is not None and isinstance(content.value, str):
        return Spelt(content.value, content[1:])
    if content is None or not isinstance(content.value, list):
        raise _Kept(EMPTY)
    parts = elements(text, content.start)
    mine = [
        i
        for i, one in enumerate(parts)
        if isinstance(one.value, dict) and one.value.get("type") == part and isinstance(one.value.get("text"), str)
    ]
    if not mine:
        raise _Kept(EMPTY)
    first, last = mine[0], mine[-1]
    if last - first + 1 != len(mine) or any(set(parts[i].value) != {"type", "text"} for i in mine[1:]):
        raise _Kept(PARTS)
    beside = (parts[first].end, parts[last].end) if last > first else None
    return Spelt("\n".join(parts[i].value["text"] for i in mine), members(text, parts[first].start)["text"][1:], beside)


def users_turns(kind: str, text: str) -> list[tuple[str, Spelt]]:
    """The user's turns of a conversation whose texts can be replaced, each with a digest of what was said up to it.

    Tools and what they gave are left out of it, as the prompter is not shown them. None of what holds no conversation.
    """
    heard, found = hashlib.blake2b(digest_size=16), list[tuple[str, Spelt]]()

    def hear(role: str, said: object) -> None:
        if isinstance(said, str) and not blank(said):
            heard.update(f"{role} {len(said)} {said}".encode("utf-8", "surrogatepass"))

    try:
        fields = whole_object(text)
    except (ValueError, StopIteration):
        return found
    turns, part = (fields.get("messages"), "text") if kind == "chat" else (fields.get("input"), "input_text")
    if kind == "completion" or turns is None:
        return found
    if kind == "responses" and "instructions" in fields:
        hear("system", fields["instructions"].value)
    if isinstance(turns.value, str):  # the first turn, which later requests hold as such
        hear("user", turns.value)
        return [(heard.hexdigest(), Spelt(turns.value, turns[1:]))]
    for turn in elements(text, turns.start) if isinstance(turns.value, list) else ():
        role, said = _said(turn.value)
        if role in (*_SYSTEM, "user", "assistant"):
            hear("system" if role in _SYSTEM else role, said)
        if role == "user":
            with contextlib.suppress(_Kept):
                found.append((heard.hexdigest(), _spelt(text, turn, part)))
    return found


def _prompt(system: Iterable[str], before: Iterable[object], text: str) -> Prompt:
    """x with its system messages and earlier turns. Calls of tools and what they gave, and all but texts, are left out,
    as is what an assistant said before the user's first turn. Raises UnusableRow."""
    systems, spoken = list(system), list[tuple[str, str]]()
    for turn in before:
        role, said = _said(turn)
        if blank(said):
            continue
        if role in _SYSTEM:
            systems.append(said)
        elif role == "assistant" and spoken and spoken[-1][0] == role:
            spoken[-1] = (role, f"{spoken[-1][1]}\n\n{said}")
        elif role == "user" or (role == "assistant" and spoken):
            spoken.append((role, said))
    return prompt_of([*(("system", said) for said in systems), *spoken, ("user", text)])


def _said(turn: object) -> tuple[str, str]:
    """Who spoke in a turn of whatever form, and the texts of what was said."""
    if not isinstance(turn, dict):
        return "", ""
    role, content = turn.get("role"), turn.get("content")
    if isinstance(content, list):
        content = "\n".join(
            one["text"]
            for one in content
            if isinstance(one, dict) and one.get("type") in _TEXT_PARTS and isinstance(one.get("text"), str)
        )
    return (role if isinstance(role, str) else ""), (content if isinstance(content, str) else "")
