"""What stands beside `alignpro serve` in `benchmarks/serving.py`: a cheap upstream and bare proxies.

    python benchmarks/serving_peers.py {upstream,aiohttp,starlette} PORT [UPSTREAM]

The upstream answers every request at once with the same bytes. The others read a body, send it on and send the answer
back, and do nothing else: one by aiohttp on both sides, one by Starlette on uvicorn, with aiohttp as its client.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "m",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "about owls. " * 8}}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 24, "total_tokens": 34},
    }
).encode()
PATH = "/v1/chat/completions"


class Upstream(asyncio.Protocol):
    """Answers without looking at more of a request than its length."""

    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._had = transport, b""

    def data_received(self, data: bytes) -> None:
        self._had += data
        while True:
            head, mark, body = self._had.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if not mark or len(body) < length:
                return
            self._had = body[length:]
            self._transport.write(self.head + ANSWER)


async def upstream(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


async def by_aiohttp(port: int, above: str) -> None:
    import aiohttp
    from aiohttp import web

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as client:

        async def handle(request: web.BaseRequest) -> web.Response:
            body = await request.read()
            headers = {"Content-Type": request.content_type}
            async with client.post(above + request.raw_path, data=body, headers=headers) as answer:
                return web.Response(
                    body=await answer.read(), status=answer.status, content_type=answer.headers["Content-Type"]
                )

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


def by_starlette(port: int, above: str) -> None:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    import aiohttp
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as app.state.client:
            yield

    async def handle(request: Request) -> Response:
        headers = {"Content-Type": request.headers["Content-Type"]}
        sending = request.app.state.client.post(above + request.url.path, data=await request.body(), headers=headers)
        async with sending as answer:
            return Response(await answer.read(), answer.status, media_type=answer.headers["Content-Type"])

    app = Starlette(routes=[Route(PATH, handle, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error")


if __name__ == "__main__":
    which, at = sys.argv[1], int(sys.argv[2])
    if which == "upstream":
        asyncio.run(upstream(at))
    elif which == "aiohttp":
        asyncio.run(by_aiohttp(at, sys.argv[3]))
    else:
        by_starlette(at, sys.argv[3])
