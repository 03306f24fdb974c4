"""How the server talks to its prompters, which are processes of their own: JSON behind its length, over a socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from alignpro.errors import RunFailure
from alignpro.prompt import Prompt, Turn

_LENGTH = 4


PROMPTER_ERROR = "prompter-error"


class Rewritten(NamedTuple):
    """What became of a prompt: x', or the reason why there is none; by which version of the prompter."""

    text: str | None
    reason: str | None = None
    tokens_added: int | None = None
    version: str | None = None


class NotStarted(RunFailure):
    """A prompter's process ended, with `code`, before it was ready; what it printed says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the prompter's process ended with exit code {code} before it was ready")
        self.exit_code = code if code in (1, 2) else 1


def send(link: socket.socket, tree: Any) -> None:
    """One message, from a process that waits for it."""
    link.sendall(_packed(tree))


def receive(link: socket.socket) -> Any:
    """The next message; None where the other side has gone."""
    size = _exactly(link, _LENGTH)
    body = size and _exactly(link, int.from_bytes(size, "big"))
    return json.loads(body) if body else None


def _exactly(link: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = link.recv(min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _packed(tree: Any) -> bytes:
    body = json.dumps(tree).encode()
    return len(body).to_bytes(_LENGTH, "big") + body


def prompts_in(tree: Sequence[Sequence[Any]]) -> list[Prompt]:
    """The prompts of a message."""
    return [Prompt(text, system, tuple(Turn(*turn) for turn in history)) for text, system, history in tree]


@dataclass(eq=False)
class Link:
    """A prompter's process that is ready, from the side of the server: `version` tells its weights, frame and sampling
    from others, `batch` is how many prompts it takes at once, and `lanes` how many batches."""

    name: str
    version: str
    batch: int
    _process: asyncio.subprocess.Process
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    lanes: int = 1

    def __post_init__(self) -> None:
        self._coming: dict[int, asyncio.Future[list[Any]]] = {}
        self._numbers = itertools.count()
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, command: Sequence[str]) -> Link:
        """Start the command, whose standard input is the socket, and wait until it is ready. Raises NotStarted."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(*command, stdin=theirs.fileno(), start_new_session=True)
        reader, writer = await asyncio.open_connection(sock=ours)
        link = cls("", "", 1, process, reader, writer)
        try:
            told = await link._next()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            raise NotStarted(await process.wait()) from None
        except asyncio.CancelledError:
            await link.end()
            raise
        link.name, link.version, link.batch, link.lanes = told
        link._reading = asyncio.create_task(link._read())
        return link

    async def rewrite(self, prompts: Sequence[Prompt]) -> list[Rewritten]:
        """What becomes of each prompt. Raises OSError or EOFError where the process has gone."""
        if self._reading is not None and self._reading.done():
            raise EOFError
        number = next(self._numbers)
        made = self._coming[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(_packed([number, [[x.text, x.system, x.history] for x in prompts]]))
            await self._writer.drain()
            return [Rewritten(text, reason, added, self.version) for text, reason, added in await made]
        finally:
            self._coming.pop(number, None)

    async def _read(self) -> None:
        """Give each batch what came of it, until the process goes."""
        try:
            while True:
                number, made = await self._next()
                if (coming := self._coming.get(number)) and not coming.done():
                    coming.set_result(made)
        except (OSError, EOFError, ValueError) as error:
            for coming in self._coming.values():
                if not coming.done():
                    coming.set_exception(error)

    async def end(self) -> None:
        """End the process, whatever it does."""
        if self._reading is not None:
            self._reading.cancel()
        self._writer.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def gone(self) -> None:
        """Return when the process has ended."""
        await self._process.wait()

    async def _next(self) -> Any:
        size = await self._reader.readexactly(_LENGTH)
        return json.loads(await self._reader.readexactly(int.from_bytes(size, "big")))
