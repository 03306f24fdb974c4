"""One HTTP exchange with a chat endpoint, and the three ways in which it brings no answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from alignpro.errors import EndpointUnusable

if TYPE_CHECKING:
    import aiohttp

KEEPALIVE_S = 5.0
"""Seconds that an idle connection is kept; many servers close theirs after as many."""
SHORTEST_SECRET = 8
"""Characters under which a key is a placeholder that a local server takes ("EMPTY", "none"), not a secret."""


@dataclass(eq=False)
class Fault(Exception):
    """No answer, and trying again may bring one. `reached` is whether the server itself did something."""

    reason: str
    reached: bool = True
    retry_after: float | None = None


@dataclass(eq=False)
class Throttled(Exception):
    """429."""

    retry_after: float | None
    out_of_credit: bool


@dataclass(eq=False)
class Refused(Exception):
    """A 4xx, which is never tried again as it is."""

    status: int
    message: str
    option: str


class Client:
    """Posts to the URLs of one endpoint, from one event loop. The key is in its headers and is shown nowhere.

    `more` are headers that the provider wants; `connect` is in seconds. Raises EndpointUnusable where aiohttp is not
    installed.
    """

    def __init__(self, urls: Sequence[str], secret: str, connect: float, more: Mapping[str, str]) -> None:
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            raise EndpointUnusable(
                f"endpoints need packages that are not here ({error.name}); pip install 'alignpro[endpoints]'"
            ) from None
        self._secret = secret if len(secret) >= SHORTEST_SECRET else ""
        headers = {
            "Authorization": f"Bearer {secret or 'none'}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "alignpro",
            **more,
        }
        # With each request, since the headers of a session go to a proxy too, and the key is none of its concern.
        self._options = {url: _options(url, headers) for url in urls}
        self._connect = connect
        self._session: aiohttp.ClientSession | None = None

    def scrub(self, text: str) -> str:
        """The text without the key."""
        return text.replace(self._secret, "[key]") if self._secret else text

    async def exchange(self, url: str, request: Mapping[str, Any], timeout: float) -> Any:
        """The JSON that the URL answers to a request within `timeout` seconds, without the key.

        Raises Throttled, Fault or Refused, never what holds the request, whose headers hold the key.
        """
        import aiohttp

        target = f"{url}/chat/completions"
        content = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=self._connect)
        try:
            async with self._open().post(target, data=content, timeout=limits, **self._options[url]) as response:
                body = await response.read()
            if 200 <= response.status < 300:
                return json.loads(self.scrub(body.decode()))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Fault(f"cannot be reached ({str(error)[:160]})", reached=False) from None
        except asyncio.TimeoutError:
            raise Fault(f"no answer within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError):
            raise Fault("the connection broke before the answer was whole") from None
        except (ValueError, RecursionError):
            raise Fault("the answer is no JSON") from None
        raise _of_status(response.status, response.headers, body, self.scrub)

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def _options(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What aiohttp is told for requests to a URL: the headers, and the proxy that the environment names.

    Its own reading of the environment looks for a user in ~/.netrc too, at each request, and refuses a key beside one.
    """
    to = urlsplit(url)
    named = getproxies()
    proxy = named.get(to.scheme) or named.get("all")
    if not proxy or proxy_bypass(to.netloc):
        return {"headers": headers}
    at = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = f"{at.scheme}://{at.netloc.rpartition('@')[2]}"
    if at.username is None:
        return {"headers": headers, "proxy": address}
    words = f"{unquote(at.username)}:{unquote(at.password or '')}"
    credentials = {"Proxy-Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}
    if to.scheme == "https":
        return {"headers": headers, "proxy": address, "proxy_headers": credentials}
    return {"headers": {**headers, **credentials}, "proxy": address}


def _of_status(
    status: int, headers: Mapping[str, str], body: bytes, scrub: Callable[[str], str]
) -> Fault | Throttled | Refused:
    said: Any = body.decode(errors="replace").strip()
    with contextlib.suppress(ValueError, RecursionError):
        said = json.loads(said)
        said = said.get("error", said) if isinstance(said, dict) else said
    fields = said if isinstance(said, dict) else {}
    message = scrub(" ".join(str(fields.get("message") or said or "").split()))[:300]
    wait = retry_after(headers)
    if status == 429:
        return Throttled(wait, out_of_credit="insufficient_quota" in (fields.get("code"), fields.get("type")))
    if status >= 500 or status in (408, 409, 425):
        return Fault(f"server error {status}", reached=status not in (502, 503), retry_after=wait)
    return Refused(status, message, str(fields.get("param") or ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by `retry-after-ms` or `retry-after` (seconds or a date), or None."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, TypeError, IndexError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
