"""What is answered here, and what goes where: health, metrics, keys, prompts to rewrite, and all else past us."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from aiohttp import web

from alignpro.serve import playground, receiving, wire
from alignpro.serve.exchange import Exchange, Pieces
from alignpro.serve.options import is_loopback
from alignpro.serve.relay import OWN, Unanswered, relayed

_KEY_HEADERS = ("Authorization", "api-key", "x-api-key")
_log = logging.getLogger("alignpro.serve")


class App:
    """Answers every request. While it is `draining` it takes no new ones; `active` are those under way."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.active = 0
        self.draining = False
        self._pages: Mapping[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            "/": playground.page,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
            "/openapi.json": playground.description,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        page = self._pages.get(request.path) if request.method in ("GET", "HEAD") else None
        if page is not None:
            return await page(request)
        self.active += 1
        try:
            return await self._proxied(request)
        finally:
            self.active -= 1

    async def _proxied(self, request: web.BaseRequest) -> web.StreamResponse:
        told: Mapping[str, str] = {}
        try:
            self._check(request)
            if request.method == "POST" and request.path == playground.REWRITE:
                return await playground.rewrite(self.pieces, request)
            if request.method == "POST" and (kind := wire.kind_of(request.path)):
                exchange = Exchange(self.pieces, request, kind)
                try:
                    return await exchange.answer()
                except (receiving.Refused, Unanswered):
                    told = exchange.headers
                    raise
            return await self._passed(request)
        except receiving.Refused as refused:
            return fault(refused.status, refused.message, refused.code, told)
        except Unanswered as unanswered:
            return fault(unanswered.status, unanswered.message, "upstream_error", told)
        except (ConnectionError, web.RequestPayloadError):  # the client has gone
            raise asyncio.CancelledError from None
        except Exception:
            _log.exception("a request could not be answered")
            return fault(500, "the server failed at this request; its log says where", "internal_error", told)

    def _check(self, request: web.BaseRequest) -> None:
        """Raise Refused for what is not let through."""
        options = self.pieces.options
        if self.draining:
            raise receiving.Refused(503, "the server is shutting down; ask another", "shutting_down")
        if not request.raw_path.startswith("/"):
            raise receiving.Refused(400, "a path is wanted, not the address of another host", "no_path")
        if options.keys and not sum(options.admits(request.headers.get(name, "")) for name in _KEY_HEADERS):
            raise receiving.Refused(401, "the key is none that this server takes", "invalid_api_key")
        if options.upstream_key and not options.keys and not _from_here(request):
            raise receiving.Refused(403, "pages of other sites may not spend the upstream's key", "other_site")

    async def _passed(self, request: web.BaseRequest) -> web.StreamResponse:
        """What is not rewritten, in both directions as it comes."""
        upstream, options = self.pieces.upstream, self.pieces.options
        body = receiving.parts(request, options.receive) if request.can_read_body else None
        asking = upstream.ask(request.method, request.raw_path, upstream.headers(request.headers), body, again=False)
        answer, _ = await asking
        response, _ = await relayed(request, answer, {})
        return response

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"status": "ok"})

    async def _readiness(self, request: web.BaseRequest) -> web.StreamResponse:
        prompters = self.pieces.prompters
        status = "draining" if self.draining else "ready" if prompters.ready else "loading the prompter"
        told = {"status": status, "version": prompters.version}
        return web.json_response(told, status=200 if status == "ready" else 503)

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=self.pieces.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})


def _from_here(request: web.BaseRequest) -> bool:
    """Whether a request comes from no page, or from one of this server, which was asked by a name of this machine."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) and origin in (None, f"http://{host}")


def fault(status: int, message: str, code: str, told: Mapping[str, str]) -> web.Response:
    """An answer of our own, in the form of OpenAI's errors. One that asks to come again closes the connection."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": f"alignpro: {message}", "type": kind, "param": None, "code": code}
    again = {"Retry-After": "1"} if status == 503 else {}
    response = web.json_response({"error": error}, status=status, headers={OWN: "fault", **told, **again})
    if status in (408, 413, 503):
        response.force_close()
    return response
