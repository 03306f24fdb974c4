"""A server with a scripted prompter before a scripted upstream: real sockets on loopback, one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from alignpro.serve import audit
from alignpro.serve.link import Rewritten
from alignpro.serve.options import Options
from alignpro.serve.service import Service

Script = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


class Scripted:
    """A prompter's process that shouts, or does as `script` says; `hold` keeps it from answering."""

    name, version, lanes = "scripted", "v1", 1

    def __init__(self, script: Callable[[Any], Rewritten] | None = None, batch: int = 4) -> None:
        self.script, self.batch = script, batch
        self.asked: list[list[Any]] = []
        self.hold: asyncio.Event | None = None
        self.ended = False
        self._gone = asyncio.Event()

    async def rewrite(self, prompts):
        self.asked.append(list(prompts))
        if self.hold is not None:
            await self.hold.wait()
        shouted = self.script or (lambda x: Rewritten(x.text.upper(), None, 1, self.version))
        return [shouted(x) for x in prompts]

    async def gone(self):
        await self._gone.wait()

    async def end(self):
        self.ended = True
        self._gone.set()


def answer(text: str = "fine") -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage}


async def good(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return web.json_response(answer())


EVENTS = [b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % i for i in range(5)] + [b"data: [DONE]\n\n"]


async def streams(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in EVENTS:
        await response.write(event)
        await asyncio.sleep(0)
    return response


@dataclass
class Upstream:
    """What arrived at the upstream; `cancelled` counts requests whose client went away."""

    script: Script
    url: str = ""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    cancelled: int = 0
    connections: Callable[[], int] = lambda: 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await request.content.read()
            self.seen.append((request.method, request.raw_path, dict(request.headers), body))
            return await self.script(request, body)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def bodies(self) -> list[bytes]:
        return [body for *_, body in self.seen]


@asynccontextmanager
async def upstream(script: Script = good) -> AsyncIterator[Upstream]:
    made = Upstream(script)
    server = web.Server(made.handle, handler_cancellation=True, access_log=None, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    made.connections = lambda: len(server.connections)
    yield made
    await runner.cleanup()


@dataclass
class Standing:
    service: Service
    upstream: Upstream
    prompter: Scripted
    client: aiohttp.ClientSession
    told: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    async def ask(self, body: Any, path: str = "/v1/chat/completions", **options: Any):
        """Post a body, as JSON unless it is bytes: status, headers, what was answered."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(URL(self.url + path, encoded=True), data=data, **options) as response:
            return response.status, response.headers, await response.read()

    async def get(self, path: str) -> tuple[int, str]:
        async with self.client.get(self.url + path) as response:
            return response.status, await response.text()

    async def metric(self, name: str) -> float:
        """The sum of a metric over its labels that hold `name` whole."""
        _, text = await self.get("/metrics")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


@asynccontextmanager
async def standing(script: Script = good, prompter: Scripted | None = None, **options: Any) -> AsyncIterator[Standing]:
    """The whole of it, ready. The prompter's process is given by `start` where more than one is to be seen."""
    made, told, tracing = prompter or Scripted(), list[str](), options.pop("tracing", None)
    start = options.pop("start", None)

    async def begin():
        return made

    async with upstream(script) as above:
        chosen = {"upstream": above.url, "port": 0, "drain": 5.0, **options}
        async with (
            Service(Options(**chosen), start or begin, told.append, tracing) as service,
            aiohttp.ClientSession() as client,
        ):
            await service.prompters.begin()
            yield Standing(service, above, made, client, told)


def user(text: Any = "tell me about owls", *before: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A chat's body whose last turn is the user's."""
    return {"model": "m", "messages": [*before, {"role": "user", "content": text}], **more}


def running(test, seconds=60.0):
    """Run an asynchronous test of so many seconds at most, which must leave no task behind."""

    async def whole():
        await asyncio.wait_for(test(), seconds)
        await settled(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    asyncio.run(whole())


async def settled(condition, seconds=10.0):
    """Wait until something holds."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


async def rows(log, count):
    """The rows of a log once there are so many, which may be after their clients have read the answers."""
    await settled(lambda: log.is_file() and log.read_bytes().count(b"\n") >= count)
    return list(audit.read(log))
