"""An OpenAI-compatible server on loopback that misbehaves as it is told; real sockets, one thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request as it arrived; `number` counts from 0, `together` are those being served with it, itself included."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]
    together: int
    path: str = ""

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][0]["content"])


@dataclass
class Reply:
    """What is done to a request: answer after `delay` seconds and once `hold` is set, or break the connection `cut`
    "before" or "midway"."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: str | None = None
    hold: threading.Event | None = None


NEVER = 1e6
"""Seconds of a delay that ends with the server."""


def completion(*texts: str, usage: tuple[int, int] | None = (10, 5), **choice: Any) -> dict[str, Any]:
    """The JSON of a chat completion; `usage` are tokens in for all and out for each text."""
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, **choice}
        for i, text in enumerate(texts)
    ]
    body: dict[str, Any] = {"object": "chat.completion", "choices": choices}
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1] * len(texts)}
    return body


def fault(message: str, **fields: Any) -> dict[str, Any]:
    """The JSON of a refusal."""
    return {"error": {"message": message, **fields}}


def echo(request: Request) -> Reply:
    """A good server: n answers, each different."""
    seed = request.body.get("seed")
    return Reply(body=completion(*(f"{request.prompt} / {seed} / {i}" for i in range(request.body.get("n", 1)))))


class ScriptedServer:
    """Serves POST /v1/chat/completions by a script; `with` starts and ends it."""

    def __init__(self, script: Callable[[Request], Reply] = echo, port: int = 0) -> None:
        self.script, self.port = script, port
        self.requests: list[Request] = []
        self.answered: Counter[str] = Counter()
        """By prompt, whole completions that were sent or are about to be."""
        self._together = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def together(self) -> int:
        """Requests that are being served now."""
        return self._together

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Break every connection and take none any more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        method, path, _ = head[0].split()
        assert (method, path.partition("?")[0]) == ("POST", "/v1/chat/completions")
        self._together += 1
        try:
            request = Request(len(self.requests), body, headers, self._together, path)
            self.requests.append(request)
            reply = self.script(request)
            if reply.delay:
                await asyncio.sleep(reply.delay)
            while reply.hold is not None and not reply.hold.is_set():
                await asyncio.sleep(0.002)
        finally:
            self._together -= 1
        if reply.cut == "before":
            return False
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        told = {"content-length": len(data), "content-type": "application/json", **reply.headers}
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{k}: {v}" for k, v in told.items())]
        whole = "\r\n".join(lines).encode() + b"\r\n\r\n" + data
        if reply.cut == "midway":
            writer.write(whole[: len(whole) - len(data) // 2])
            await writer.drain()
            await asyncio.sleep(0.005)
            return False
        if reply.status == 200:
            self.answered[request.prompt] += 1
        writer.write(whole)
        await writer.drain()
        return True
