"""The upstream: requests go there, and what it answers comes back, byte for byte."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import HttpVersion11, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from alignpro.remote.wire import retry_after
from alignpro.serve.answers import Seen
from alignpro.serve.options import Options
from alignpro.serve.receiving import Refused

OWN = "x-alignpro"
"""Our header: the client's is never sent on. Others of ours begin with it too."""
_HOP = {
    "connection",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Headers that are of one connection alone."""
AGAIN = {429, 502, 503, 504, 529}
"""Answers after which a request is tried again."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two tries: doubled each time, or as the upstream asks, which is told to the client where it is longer
than the last."""
IDLE = 4.0
"""Seconds after which an idle connection is closed here: before the five after which most servers do."""


@dataclass(eq=False)
class Unanswered(Exception):
    """The upstream gave no answer: `status` is what the client is told."""

    status: int
    message: str


class Upstream:
    """One connection pool to the upstream. Made within the event loop that uses it."""

    def __init__(self, options: Options, on_retry: Callable[[], None]) -> None:
        split = urlsplit(options.upstream)
        self._origin = f"{split.scheme}://{split.netloc}"
        self._base = split.path.rstrip("/")
        self._options, self._on_retry = options, on_retry
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.connect, sock_read=options.idle),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        """End the connections."""
        await self._session.close()

    def address(self, path: str) -> URL:
        """Where a client's path and query go, which are kept as they are spelt. What is under /v1 here is under the
        base URL there, all else is beside it."""
        base = self._base
        if not base:
            return URL(self._origin + path, encoded=True)
        if path == "/v1" or path.startswith(("/v1/", "/v1?")):
            return URL(f"{self._origin}{base}{path.removeprefix('/v1')}", encoded=True)
        return URL(f"{self._origin}{base.removesuffix('/v1')}{path}", encoded=True)

    async def ask(
        self,
        method: str,
        path: str,
        headers: CIMultiDict[str],
        body: bytes | AsyncIterator[bytes] | None,
        again: bool,
    ) -> tuple[aiohttp.ClientResponse, int]:
        """The head of the answer, and how often was tried again, which is done where `again` says so.

        Raises Unanswered, and Refused where a body that is sent on as it comes does not.
        """
        tried = 0
        while True:
            last = not again or tried >= self._options.retries
            try:
                answer = await self._session.request(
                    method, self.address(path), headers=headers, data=body, allow_redirects=False
                )
            except asyncio.TimeoutError:
                raise Unanswered(504, "the upstream did not answer in time") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if isinstance(error.__cause__, Refused):
                    raise error.__cause__ from None
                if last:
                    raise Unanswered(502, f"the upstream {_fault(error)}") from None
                wait = self._wait(tried, {})
            else:
                if last or answer.status not in AGAIN or (wait := self._wait(tried, answer.headers)) > LONGEST_WAIT:
                    return answer, tried
                answer.close()
            tried += 1
            self._on_retry()
            await asyncio.sleep(wait)

    def _wait(self, tried: int, headers: Mapping[str, str]) -> float:
        told = retry_after(headers)
        return told if told is not None else FIRST_WAIT * 2.0**tried * random.uniform(0.5, 1.0)

    def headers(self, given: CIMultiDictProxy[str]) -> CIMultiDict[str]:
        """A client's headers as they go to the upstream: without those of its connection and ours, and with our key in
        the place of one that was shown to us."""
        sent = end_to_end(given, (OWN,))
        if self._options.keys or self._options.upstream_key:
            sent.popall("Authorization", None)
            sent.popall("api-key", None)
        if self._options.upstream_key:
            sent["Authorization"] = f"Bearer {self._options.upstream_key}"
        return sent


def _fault(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached ({error.os_error.strerror or 'no connection'})"
    return f"broke off before it answered ({type(error).__name__})"


def end_to_end(given: Mapping[str, str], without: tuple[str, ...] = ()) -> CIMultiDict[str]:
    """Headers without those that are of one connection alone, named as such or not, and without those that begin
    with one of `without`."""
    away = _HOP
    if named := given.get("Connection"):
        away = _HOP | {name.strip().lower() for name in named.split(",")}
    kept = ((name, value, name.lower()) for name, value in given.items())
    return CIMultiDict([(name, value) for name, value, low in kept if low not in away and not low.startswith(without)])


async def relayed(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, told: Mapping[str, str], seen: Seen | None = None
) -> tuple[web.StreamResponse, bool]:
    """Send an answer on as it comes, with headers of ours, and whether it came whole.

    Where the upstream breaks off, the client's connection is broken off too, so that it cannot take a part for all.
    """
    headers = end_to_end(answer.headers)
    headers.update(told)
    response: web.StreamResponse
    try:
        if answer.content.is_eof() and (body := answer.content.read_nowait()):  # all of it came with the head
            if seen is not None:
                seen.add(body)
            response = web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)
            await response.prepare(request)
            await response.write_eof()
            return response, True
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        await response.prepare(request)
        while True:
            try:
                part = await answer.content.readany()
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
                broken_off(request)
                return response, False
            if not part:
                return response, True
            if seen is not None:
                seen.add(part)
            await response.write(part)
    finally:
        answer.close()


def broken_off(request: web.BaseRequest) -> None:
    """End the client's connection without the end of the answer that is on its way there."""
    if isinstance(request.transport, asyncio.Transport):
        if request.version < HttpVersion11:  # where the end of the connection is the end of the answer
            ending = request.transport.get_extra_info("socket")
            ending.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no end in order
            request.transport.abort()
        else:
            request.transport.close()
