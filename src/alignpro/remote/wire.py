"""One HTTP exchange with a chat endpoint, and the three ways in which it brings no answer."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from alignpro.errors import EndpointUnusable
from alignpro.remote.access import Access
from alignpro.remote.address import chat_url
from alignpro.remote.said import decoded, message_of, status_of

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

KEEPALIVE_S = 5.0
"""Seconds that an idle connection is kept; many servers close theirs after as many."""
UNREACHED = frozenset({502, 503, 521, 522, 523, 525, 526, 527, 530})
"""What is said for a server by those that stand before it."""


@dataclass(eq=False)
class Fault(Exception):
    """No answer, and trying again may bring one. `reached` is whether the server itself did something, `said` its words
    and the way to it, in brackets."""

    reason: str
    reached: bool = True
    retry_after: float | None = None
    said: str = ""


@dataclass(eq=False)
class Throttled(Exception):
    """429, or 529: the server is asked too much, by this client or by all."""

    retry_after: float | None
    out_of_credit: bool
    status: int = 429


@dataclass(eq=False)
class Refused(Exception):
    """A 3xx or 4xx, which is never tried again as it is. `option` is the parameter that it names apart from its words,
    `location` where it sends to."""

    status: int
    message: str
    option: str
    location: str = ""


_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class _Way:
    """How a URL is asked: where requests go, what else aiohttp is told, and the proxy before it in words."""

    target: URL = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    proxy: str = ""


class Client:
    """Posts to the URLs of one endpoint, from one event loop. Secrets are in `access` and are shown nowhere.

    `connect` is in seconds. Raises EndpointUnusable where aiohttp is not installed, or a proxy is none that it can use.
    """

    def __init__(self, urls: Sequence[str], access: Access, connect: float) -> None:
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            raise EndpointUnusable(
                f"endpoints need packages that are not here ({error.name}); pip install 'alignpro[endpoints]'"
            ) from None
        self.access = access
        headers = {"Content-Type": "application/json", "Accept": "application/json", **access.headers}
        # With each request, since the headers of a session go to a proxy too, and the key is none of its concern.
        self._ways = {url: _way(url, headers, access.query) for url in urls}
        self._limits: dict[float, aiohttp.ClientTimeout] = {}
        self._connect = connect
        self._session: aiohttp.ClientSession | None = None

    def named(self, url: str) -> str:
        """A URL as errors name it, with the proxy that stands before it."""
        return f"{url}{self._ways[url].proxy}"

    def written(self, fields: Mapping[str, Any], own: Collection[str]) -> str:
        """What many requests share, as JSON without its last brace: all fields but those each has of its `own`."""
        shared = {name: value for name, value in fields.items() if name not in own} | {**self.access.body}
        return _as_json(shared).removesuffix("}")

    async def exchange(self, url: str, request: Mapping[str, Any], timeout: float, shared: str = "") -> Any:
        """The JSON that the URL answers to a request within `timeout` seconds, without secrets; it may hold an error
        all the same (`error_in`). `shared` is more of the request, `written` before.

        Raises Throttled, Fault or Refused, never what holds the request, whose headers hold the key.
        """
        import aiohttp

        way = self._ways[url]
        if not shared:
            content = _as_json({**request, **self.access.body}).encode()
        else:
            own = {name: value for name, value in request.items() if name not in self.access.body}
            content = (f"{shared},{_as_json(own)[1:]}" if own else f"{shared}}}").encode()
        if (limits := self._limits.get(timeout)) is None:
            limits = aiohttp.ClientTimeout(total=timeout, sock_connect=self._connect)
            self._limits[timeout] = limits
        try:
            response = await self._open().post(
                way.target, data=content, timeout=limits, allow_redirects=False, **way.options
            )
            body = await response.read()
        except aiohttp.ClientHttpProxyError as error:
            raise Fault(f"cannot be reached (the proxy answers {error.status})", False, said=way.proxy) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            told = self.access.scrub(str(error))[:160]
            raise Fault(f"cannot be reached ({told})", reached=False, said=way.proxy) from None
        except asyncio.TimeoutError:
            raise Fault(f"no answer within {timeout:g} s", said=way.proxy) from None
        except (aiohttp.ClientError, OSError):
            raise Fault("the connection broke before the answer was whole", said=way.proxy) from None
        good = 200 <= response.status < 300
        try:
            text = decoded(body, response.charset)
            tree = json.loads(text)
            clean = self.access.is_clean(text)
        except (ValueError, RecursionError):
            tree, clean = body.decode(errors="replace"), False
            if good:
                words = self.access.scrub(message_of(tree))[:80]
                raise Fault("the answer is no JSON", said=f" ({words}){way.proxy}") from None
        tree = tree if clean else self.access.scrubbed(tree)
        if good:
            return tree
        raise self._of_status(url, response.status, tree, response.headers)

    def error_in(self, url: str, tree: Any) -> Fault | Throttled | Refused | None:
        """The error that stands in an answer of status 200, by its meaning; None where there is none."""
        status = status_of(tree)
        return None if status is None else self._of_status(url, status, tree, {})

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

    def _of_status(self, url: str, status: int, tree: Any, headers: Mapping[str, str]) -> Fault | Throttled | Refused:
        tree = tree[0] if isinstance(tree, list) and len(tree) == 1 else tree
        said = tree.get("error", tree) if isinstance(tree, dict) else tree
        fields = said if isinstance(said, dict) else {}
        message, wait, way = message_of(tree)[:300], retry_after(headers), self._ways[url].proxy
        if status in (429, 529):
            spent = status == 429 and "insufficient_quota" in (fields.get("code"), fields.get("type"))
            return Throttled(wait, spent, status)
        if status >= 500 or status in (408, 409, 425):
            words = f" ({message[:160]})" if message else ""
            return Fault(f"server error {status}", status not in UNREACHED, wait, words + way)
        return Refused(status, message, str(fields.get("param") or ""), self.access.scrub(headers.get("location", "")))


def _way(url: str, headers: Mapping[str, str], query: Mapping[str, str]) -> _Way:
    """Where a URL's requests go, the headers, and the proxy that the environment names.

    aiohttp's own reading of the environment looks for a user in ~/.netrc too, at each request, and refuses a key
    beside one.
    """
    from yarl import URL

    to, target = urlsplit(url), URL(chat_url(url)).update_query(dict(query))
    named = getproxies()
    kind = next((kind for kind in (to.scheme, "all") if named.get(kind)), None)
    if kind is None or proxy_bypass(to.netloc) or proxy_bypass(str(to.hostname)):
        return _Way(target, {"headers": headers})
    proxy = named[kind]
    at = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = f"{at.scheme}://{at.netloc.rpartition('@')[2]}"
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    by = next((name for name in names if os.environ.get(name)), "the system's settings")
    if at.scheme not in ("http", "https"):
        raise EndpointUnusable(
            f"{by} names {address} as the proxy before {url}, and only http and https proxies can be used; name one, or"
            f" set NO_PROXY={to.hostname} to go past it"
        )
    said = f" (through the proxy {address} that {by} names; NO_PROXY={to.hostname} goes past it)"
    if at.username is None:
        return _Way(target, {"headers": headers, "proxy": address}, said)
    words = f"{unquote(at.username)}:{unquote(at.password or '')}"
    credentials = {"Proxy-Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}
    if to.scheme == "https":
        return _Way(target, {"headers": headers, "proxy": address, "proxy_headers": credentials}, said)
    return _Way(target, {"headers": {**headers, **credentials}, "proxy": address}, said)


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
