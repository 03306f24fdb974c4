"""LiteLLM's proxy: a hook that rewrites the user's prompt before LiteLLM chooses who answers.

What is rewritten, and what is left as it is, are those of `alignpro serve`: one reader of requests serves both. The
prompter has processes of its own, which rewrite in micro-batches; LiteLLM's own never waits for them but in `await`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alignpro.serve import wire
from alignpro.serve.link import Link, NotStarted
from alignpro.serve.prompters import Prompters

HEADER = "x-alignpro"
OPTED_OUT = "opt-out"
_KINDS = {"completion": "chat", "text_completion": "completion", "responses": "responses"}
"""LiteLLM's call types, which begin with an `a` too."""
_FIELDS = {
    "chat": ("messages",),
    "completion": ("prompt", "suffix", "echo"),
    "responses": ("input", "instructions", "previous_response_id", "conversation"),
}
"""What of a request is read; the first holds x."""
_log = logging.getLogger("alignpro.litellm")


class Rewriting:
    """LiteLLM's hooks, with prompters that begin at the first request; until they are ready the original goes on.

    `counts` says how many requests were rewritten, and of the others how many for which reason.
    """

    def __init__(self, prompters: Prompters) -> None:
        super().__init__()
        self.prompters = prompters
        self.counts: Counter[str] = Counter()
        self._beginning: asyncio.Task[None] | None = None

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> Any:
        """The request with x' in the place of x, or as it came where there is no x'. None for calls of other kinds."""
        kind = _KINDS.get(call_type) or _KINDS.get(call_type.removeprefix("a"))
        if kind is None:
            return None
        if self._beginning is None:
            self._beginning = asyncio.create_task(self._begin())
        try:
            reason = await self._rewrite(kind, data)
        except Exception:
            _log.exception("a prompt could not be rewritten; the original goes on")
            reason = "fault"
        self.counts[reason or "rewritten"] += 1
        if (held := _metadata(data)) is not None:
            held[HEADER] = f"original; reason={reason}" if reason else "rewritten"
        return data

    async def async_post_call_response_headers_hook(
        self, data: Mapping[str, Any], user_api_key_dict: Any, response: Any, **_: Any
    ) -> dict[str, str] | None:
        """`x-alignpro`, as `alignpro serve` tells it."""
        told = (_metadata(data) or {}).get(HEADER)
        return {HEADER: told} if told else None

    async def _rewrite(self, kind: str, data: dict[str, Any]) -> str | None:
        """Put x' into the request; why not, where it is not done."""
        headers = (data.get("proxy_server_request") or {}).get("headers") or {}
        if any(name.lower() == HEADER and value.strip().lower() == "off" for name, value in headers.items()):
            return OPTED_OUT
        try:
            body = json.dumps({name: data[name] for name in _FIELDS[kind] if name in data}).encode()
            asked = wire.read(kind, body)
        except (TypeError, ValueError, RecursionError):
            return wire.NOT_JSON
        if asked.reason is not None:
            return asked.reason
        made = [one for one, _ in await asyncio.gather(*(self.prompters.rewrite(slot.prompt) for slot in asked.slots))]
        reason = next((one.reason for one in made if one.reason), None)
        if reason is None:
            name = _FIELDS[kind][0]
            data[name] = json.loads(asked.with_rewrites([one.text for one in made]))[name]
        return reason

    async def _begin(self) -> None:
        try:
            await self.prompters.begin()
        except NotStarted as error:
            _log.error("%s; every prompt goes on as it came", error)


def hook(
    run: str | Path,
    arguments: Sequence[str] = (),
    python: str = sys.executable,
    workers: int = 1,
    timeout: float = 5.0,
    queue: int = 256,
    cache: int = 10_000,
) -> Any:
    """What LiteLLM takes as a callback, with the prompter of a run or of an exported folder.

    `arguments` are more of `alignpro serve`, as in `["--method=gibbs"]` or `["--guards.numbers=false"]`; `python` is
    the interpreter that has torch, where LiteLLM's has not. Raises ImportError without LiteLLM.
    """
    from litellm.integrations.custom_logger import CustomLogger

    command = [python, "-m", "alignpro", "serve", *arguments, f"--run={Path(run).resolve()}", "--as-prompter"]
    prompters = Prompters(partial(Link.start, command), workers, queue, timeout, cache=cache, tell=_log.warning)
    own = {name: value for name, value in vars(Rewriting).items() if name.endswith("_hook")}  # it asks the class itself
    return type("AlignPro", (Rewriting, CustomLogger), own)(prompters)


def _metadata(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What LiteLLM keeps beside a request and sends to nobody."""
    held = data.get("litellm_metadata" if "litellm_metadata" in data else "metadata")
    return held if isinstance(held, dict) else None
