"""An OpenAI-compatible endpoint of a model that runs here, to try `alignpro serve` in front of: `make demo`.

    python examples/served_model.py lab --port 8001

It answers /v1/chat/completions, one request at a time; a stream comes in one piece.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

from aiohttp import web

from alignpro import config
from alignpro.data.conversations import prompt_of
from alignpro.models.local import load_frozen
from alignpro.types import Generation

told = argparse.ArgumentParser(description=__doc__)
told.add_argument("model", help="folder, package:NAME, hub id, or lab")
told.add_argument("--port", type=int, default=8001)
given = told.parse_args()

settings = config.load("lab", [f"frozen.model={given.model}"])
model = load_frozen(settings.frozen)
turn = asyncio.Lock()


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    asked = await request.json()
    prompt = prompt_of([(message["role"], message["content"]) for message in asked["messages"]])
    async with turn:
        [[answer]] = await asyncio.to_thread(model.respond, [prompt], [1], time.time_ns() % 2**31)
    if not asked.get("stream"):
        return web.json_response(body("chat.completion", answer, "message", {"role": "assistant"}))
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await stream.prepare(request)
    chunk = json.dumps(body("chat.completion.chunk", answer, "delta", {}))
    await stream.write(f"data: {chunk}\n\ndata: [DONE]\n\n".encode())
    return stream


def body(kind: str, answer: Generation, name: str, more: dict[str, str]) -> dict[str, Any]:
    """An answer in the form that clients know."""
    choice = {"index": 0, name: {**more, "content": answer.text}, "finish_reason": answer.finish}
    return {"id": "chatcmpl-0", "object": kind, "created": int(time.time()), "model": given.model, "choices": [choice]}


async def models(request: web.Request) -> web.Response:
    """The one model there is."""
    return web.json_response({"object": "list", "data": [{"id": given.model, "object": "model"}]})


app = web.Application()
app.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
web.run_app(app, host="127.0.0.1", port=given.port, print=None)
