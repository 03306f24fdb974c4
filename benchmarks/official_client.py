"""What the official `openai` client makes of an endpoint, call by call: for benchmarks/clients.py and the tests.

    python benchmarks/official_client.py http://127.0.0.1:8000/v1 MODEL [--prompt TEXT] [--header NAME=VALUE]

It needs the package `openai` and no other, so that any environment with it will do, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from functools import reduce
from typing import Any

import openai

PROMPT = "What is an owl?"
"""Stands in every call whose prompt is rewritten; what stands elsewhere in their place is another text."""
NAMED = "x-call"
"""A header that says which call it is."""

SYSTEM = {"role": "system", "content": "Answer in a few words."}
USER = {"role": "user", "content": PROMPT}
BEFORE = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello, what is it?"}]
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
SEEN = {"type": "input_image", "image_url": PIXEL, "detail": "low"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "of a city", "parameters": SCHEMA}
TOOL, FLAT = {"type": "function", "function": WEATHER}, {"type": "function", **WEATHER}
CALLED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOLD = [
    {"role": "user", "content": "And in Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
CHAT, COMPLETION, RESPONSE = "chat.completions.create", "completions.create", "responses.create"
FORM = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
SHORT, SHORTER = {"max_tokens": 12, "temperature": 0}, {"max_output_tokens": 16, "temperature": 0}

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, {"messages": [SYSTEM, USER], **SHORT}),
    "chat, streamed": (CHAT, {"messages": [SYSTEM, USER], **SHORT, **STREAM}),
    "chat, a conversation": (CHAT, {"messages": [SYSTEM, *BEFORE, USER], **SHORT, "seed": 1, "stop": ["###"]}),
    "chat, parts": (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}], **SHORT}),
    "completion": (COMPLETION, {"prompt": PROMPT, **SHORT}),
    "completion, streamed": (COMPLETION, {"prompt": PROMPT, **SHORT, **STREAM}),
    "response": (RESPONSE, {"input": PROMPT, "instructions": SYSTEM["content"], **SHORTER}),
    "response, streamed": (RESPONSE, {"input": PROMPT, **SHORTER, "stream": True}),
    "response, a conversation": (RESPONSE, {"input": [*BEFORE, USER], **SHORTER}),
    "a fault": (CHAT, {"messages": [USER], "max_tokens": -1}),
    "no such model": (CHAT, {"messages": [USER], "model": "none/there"}),
    "models": ("models.list", {}),
}
"""Calls that most upstreams answer."""
RICHER: dict[str, tuple[str, dict[str, Any]]] = {
    "tools": (CHAT, {"messages": [USER], "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False}),
    "tools, streamed": (CHAT, {"messages": [USER], "tools": [TOOL], **STREAM}),
    "what a tool said": (CHAT, {"messages": TOLD, "tools": [TOOL]}),
    "an image": (CHAT, {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}, IMAGE]}]}),
    "a form": (CHAT, {"messages": [USER], "response_format": FORM, "logprobs": True, "top_logprobs": 2, "n": 2}),
    "completion, several": (COMPLETION, {"prompt": [PROMPT, PROMPT], "n": 1}),
    "response, tools": (RESPONSE, {"input": PROMPT, "tools": [FLAT], "stream": True}),
    "response, what a tool said": (
        RESPONSE,
        {"input": [{"type": "function_call_output", "call_id": "call_1", "output": "rain"}]},
    ),
    "response, going on": (RESPONSE, {"input": "And in Oslo?", "previous_response_id": "resp_1"}),
    "response, an image": (
        RESPONSE,
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}, SEEN]}]},
    ),
    "embeddings": ("embeddings.create", {"input": "An owl.", "encoding_format": "float"}),
    "too many": (CHAT, {"messages": [USER]}),
}
"""Calls that some do."""


def asked(
    url: str,
    model: str,
    names: Iterable[str],
    prompt: str = PROMPT,
    headers: dict[str, str] | None = None,
    retries: int = 0,
) -> dict[str, Any]:
    """What the client gives for each call, with `prompt` in the place of PROMPT."""
    told: dict[str, Any] = {}
    with openai.OpenAI(api_key="none", base_url=url, max_retries=retries) as client:
        for name in names:
            method, given = {**CALLS, **RICHER}[name]
            given = json.loads(json.dumps(given).replace(json.dumps(PROMPT), json.dumps(prompt)))
            given = given if name == "models" else {"model": model, **given}
            call: Any = reduce(getattr, method.split("."), client)
            try:
                made = call(**given, extra_headers={NAMED: name, **(headers or {})})
                told[name] = [_plain(one) for one in made] if given.get("stream") else _plain(made)
            except openai.APIStatusError as error:
                told[name] = {"raised": type(error).__name__, "status": error.status_code, "body": error.body}
            except openai.APIConnectionError as error:
                told[name] = {"raised": type(error).__name__}
    return told


def _plain(made: Any) -> Any:
    """What was given, as JSON holds it; a server that streams unasked gives a text."""
    return made if isinstance(made, str) else made.model_dump(mode="json", warnings=False)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("url", help="base URL")
    ask.add_argument("model")
    ask.add_argument("--prompt", default=PROMPT, help="asked in the place of the usual one")
    ask.add_argument("--header", action="append", default=[], help="NAME=VALUE, sent with every call")
    given = ask.parse_args()
    headers = dict(one.split("=", 1) for one in given.header)
    told = asked(given.url, given.model, CALLS, given.prompt, headers, retries=3)
    print(json.dumps({"openai": openai.__version__, "told": told}))


if __name__ == "__main__":
    main()
