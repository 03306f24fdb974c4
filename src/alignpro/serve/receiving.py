"""Bodies of requests, from clients that may be slow, endless or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

SLOWEST = 64_000
"""Bytes a second; whoever sends more slowly has the deadline alone."""


@dataclass(eq=False)
class Refused(Exception):
    """A request that is answered here, with `status` and a message."""

    status: int
    message: str
    code: str


async def parts(request: web.BaseRequest, seconds: float) -> AsyncIterator[bytes]:
    """A body as it comes. All waiting for it may take so many seconds, and more by what it holds. Raises Refused."""
    loop, waited, got = asyncio.get_running_loop(), 0.0, 0
    while not request.content.at_eof():
        begun = loop.time()
        try:
            part = await asyncio.wait_for(request.content.readany(), seconds + got / SLOWEST - waited)
        except asyncio.TimeoutError:
            raise Refused(408, f"the request did not arrive within {seconds:g} s", "request_timeout") from None
        waited += loop.time() - begun
        got += len(part)
        yield part


async def whole(request: web.BaseRequest, seconds: float, most: int) -> bytes:
    """A body of at most so many bytes. Raises Refused."""
    too_large = Refused(413, f"the request is longer than {most} bytes", "request_too_large")
    if (request.content_length or 0) > most:
        raise too_large
    if request.content.is_eof():  # all of it came with the head
        body = request.content.read_nowait()
        if len(body) > most:
            raise too_large
        return body
    held = bytearray()
    async for part in parts(request, seconds):
        held += part
        if len(held) > most:
            raise too_large
    return bytes(held)
