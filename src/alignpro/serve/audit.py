"""What the server did with every prompt, a line of JSON each; `alignpro ab` reads it."""

from __future__ import annotations

import hashlib
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from alignpro.errors import DamagedResult, UsageError
from alignpro.prompt import Prompt

Arm = Literal["rewritten", "original"]


class Usage(BaseModel):
    """Tokens that the upstream says it read and wrote."""

    input_tokens: int | None = None
    output_tokens: int | None = None


class Row(BaseModel):
    """One prompt of one request; a completion's list of prompts has a row for each, with the same `id`.

    `arm` is what was sent on, and `assigned` what was to be sent: they differ where the prompter failed (`reason`).
    `assigned` is null where there was nothing to decide, since the request is of no kind that is rewritten.
    """

    model_config = ConfigDict(extra="ignore")

    time: float
    """When the request came, in seconds since 1970."""
    id: str
    """That of the request, which the client is told in `x-alignpro-id`."""
    index: int = 0
    """Of the prompt in the request."""
    kind: str
    """chat, completion or responses."""
    model: str | None = None
    """As the client named it."""
    mode: Literal["serve", "shadow", "ab"]
    arm: Arm
    assigned: Arm | None
    reason: str | None = None
    """Why the original was sent on."""
    version: str | None = None
    """Digest of the prompter's weights, frame and sampling."""
    unit: str
    """Digest of what the conversation begins with, by which A/B assigns: the unit that is independent of others."""
    x_digest: str
    """Of the prompt with all that stands before it."""
    x: str | None = None
    """The prompt, unless digests alone are kept."""
    x_new: str | None = None
    """Its rewrite, whether it was sent or not; null where there is none, or digests alone are kept."""
    tokens_added: int | None = None
    """Tokens of x' less those of x, as the prompter's tokenizer counts; null where there is no rewrite."""
    cached: bool = False
    """Whether the rewrite was known already."""
    rewrite_ms: float | None = None
    """From asking for the rewrite to having it, or to giving up; null where it was not asked for."""
    first_byte_ms: float | None = None
    """From asking the upstream to the head of its answer."""
    upstream_ms: float | None = None
    """From asking the upstream to the end of its answer."""
    status: int | None = None
    """The client's; null where it went away first."""
    ended: Literal["whole", "reset", "aborted"] = "whole"
    """The answer, or broken off by the upstream or by the client."""
    retries: int = 0
    streamed: bool = False
    answer_id: str | None = None
    """What the upstream calls its answer, which the client sees too."""
    usage: Usage | None = None
    reward: float | None = None
    """Never known while serving; to be filled in by whoever scores answers, by `answer_id` or `id`."""


def digest(x: Prompt) -> str:
    """Of a prompt with all that stands before it."""
    return _short(x.key)


def unit(x: Prompt) -> str:
    """Of what the conversation begins with: the system message and the user's first turn."""
    first = x.history[0].content if x.history else x.text
    return _short(f"{x.system or ''}\x1f{first}")


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


class Audit:
    """Writes rows to a file, which is rotated at `max_bytes` to FILE.1, FILE.2, ... of which `keep` are kept.

    With `hash_only` no text is written. A row that cannot be written is counted in `lost` and stops nothing. Raises
    UsageError where the file cannot be opened.
    """

    def __init__(self, path: Path, hash_only: bool = False, max_bytes: int = 100_000_000, keep: int = 10) -> None:
        self.hash_only = hash_only
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _Rotated(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(f"--audit {path}: cannot be written ({error.strerror}); name another file") from None

    def write(self, row: Row) -> None:
        """Add a line."""
        hidden = {"x", "x_new"} if self.hash_only else None
        line = row.model_dump_json(exclude=hidden)
        self._file.emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """End the file."""
        self._file.close()

    @property
    def lost(self) -> int:
        """Rows that could not be written."""
        return self._file.lost


class _Rotated(logging.handlers.RotatingFileHandler):
    """The standard library's, which counts what it cannot write instead of printing a trace for each."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:
        self.lost += 1


def read(path: Path) -> Iterator[Row]:
    """The rows of a log and of those it was rotated to, the oldest first; a torn last line is left out.

    Raises UsageError where there is no file, DamagedResult for a line that is no row.
    """
    older = sorted(
        (p for p in path.parent.glob(f"{path.name}.*") if p.suffix[1:].isdigit()), key=lambda p: -int(p.suffix[1:])
    )
    files = [*older, *([path] if path.is_file() else [])]
    if not files:
        raise UsageError(f"{path}: no such log; `alignpro serve --audit {path}` writes one")
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield Row.model_validate_json(line)
                except ValidationError as error:
                    if not line.endswith("\n") and file == files[-1]:
                        return
                    why = error.errors()[0]
                    where = ".".join(map(str, why["loc"]))
                    raise DamagedResult(
                        f"{file}, line {number}: {where or 'the line'}: {why['msg'].lower()}; delete that line"
                    ) from None
