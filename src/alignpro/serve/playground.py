"""The page at `/`, which shows what the prompter makes of a prompt beside both answers, and the rewrites for it; what
the server says of itself at `/openapi.json`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from aiohttp import web

from alignpro.serve import receiving
from alignpro.serve.exchange import Pieces, made_of, read

REWRITE = "/alignpro/rewrite"
_ALONE = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'"
)


@cache
def _file(name: str) -> str:
    return (files("alignpro.serve") / name).read_text(encoding="utf-8")


async def page(request: web.BaseRequest) -> web.StreamResponse:
    """The page, which takes nothing from elsewhere and may stand in no other."""
    headers = {"Content-Security-Policy": _ALONE, "Referrer-Policy": "no-referrer"}
    return web.Response(text=_file("playground.html"), content_type="text/html", headers=headers)


async def description(request: web.BaseRequest) -> web.StreamResponse:
    """What the server answers itself, as OpenAPI has it."""
    return web.Response(text=_file("openapi.json"), content_type="application/json")


async def rewrite(pieces: Pieces, request: web.BaseRequest) -> web.StreamResponse:
    """What becomes of the prompt of a chat's body, which asks no upstream. Raises Refused."""
    options = pieces.options
    body = await receiving.whole(request, options.receive, options.body_limit)
    asked = read("chat", body, options.depth_limit)
    if not asked.slots:
        return web.json_response({"prompt": None, "rewrite": None, "reason": asked.reason})
    x = asked.slots[0].prompt
    made = await made_of(pieces, x)
    text, reason, added, version = made.rewritten
    told = {"prompt": x.text, "rewrite": text, "reason": reason, "tokens_added": added, "version": version}
    return web.json_response({**told, "cached": made.cached, "milliseconds": round(1e3 * made.seconds, 3)})
