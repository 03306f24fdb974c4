"""One request for an answer, from the client's first byte to the upstream's last."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from aiohttp import web

from alignpro.prompt import Prompt
from alignpro.serve import audit, receiving, spans, wire
from alignpro.serve.answers import Seen
from alignpro.serve.link import Rewritten
from alignpro.serve.metrics import Metrics
from alignpro.serve.options import Options
from alignpro.serve.prompters import Prompters
from alignpro.serve.relay import OWN, Unanswered, Upstream, relayed
from alignpro.serve.tracing import Trace, Tracing
from alignpro.serve.turns import Turns

ENCODED, OPTED_OUT = "encoded", "opt-out"
SHADOW, AB = "shadow", "ab"


class Made(NamedTuple):
    """A rewrite, whether it was known, and the seconds that it took."""

    rewritten: Rewritten
    cached: bool
    seconds: float


@dataclass
class Pieces:
    """What all requests share."""

    options: Options
    prompters: Prompters
    upstream: Upstream
    metrics: Metrics
    log: audit.Audit | None
    turns: Turns | None = None
    """Where earlier turns go on as they were rewritten."""
    tracing: Tracing | None = None


@dataclass
class Exchange:
    """What is known of a request while it is answered."""

    pieces: Pieces
    request: web.BaseRequest
    kind: str
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    came: float = field(default_factory=time.time)
    reason: str | None = None
    """Why the original is sent on."""
    _asked: wire.Asked | None = None
    _assigned: audit.Arm | None = None
    _made: Sequence[Made] = ()
    _beside: asyncio.Future[list[Made]] | None = None
    """Rewrites that are made while the original is answered."""
    _sent: float | None = None
    _headed: float | None = None
    _status: int | None = None
    _ended: Literal["whole", "reset", "aborted"] = "aborted"
    _retries: int = 0
    _turns: int = 0
    """Earlier turns that go on rewritten."""
    _seen: Seen | None = None
    _trace: Trace | None = None
    _begun: float | None = None
    """When the request had arrived."""

    @property
    def headers(self) -> dict[str, str]:
        """What the client is told of what became of its prompt."""
        version = next((one.rewritten.version for one in self._made), None) or self.pieces.prompters.version
        told = "rewritten" if self._arm == "rewritten" else f"original; reason={self.reason or 'fault'}"
        turns = {f"{OWN}-turns": str(self._turns)} if self._turns else {}
        return {OWN: told, f"{OWN}-id": self.id} | ({f"{OWN}-version": version} if version else {}) | turns

    async def answer(self) -> web.StreamResponse:
        """Rewrite, ask and relay. Raises Refused and Unanswered before the first byte of an answer."""
        options, upstream, loop = self.pieces.options, self.pieces.upstream, asyncio.get_running_loop()
        if self.pieces.tracing is not None:
            self._trace = self.pieces.tracing.begin(self.request.headers)
        try:
            body = await receiving.whole(self.request, options.receive, options.body_limit)
            self._begun = begun = loop.time()
            body = await self._rewritten(body)
            self._sent = loop.time()
            waited = max((one.seconds for one in self._made), default=0.0)
            self.pieces.metrics.observe("alignpro_added_seconds", self._sent - begun - waited)
            headers = upstream.headers(self.request.headers)
            headers.popall("Content-Length", None)
            if self._trace is not None:
                self._trace.asks(headers)
            answer, self._retries = await upstream.ask("POST", self.request.raw_path, headers, body, again=True)
            self._headed, self._status = loop.time(), answer.status
            self._seen = Seen(answer.headers.get("Content-Encoding")) if self.pieces.log else None
            response, whole = await relayed(self.request, answer, self.headers, self._seen)
            self._ended = "whole" if whole else "reset"
            return response
        except (receiving.Refused, Unanswered) as refused:
            self._status, self._ended = refused.status, "whole"
            raise
        finally:
            self._finish(loop.time())

    async def _rewritten(self, body: bytes) -> bytes:
        """The body to be sent on. Raises Refused."""
        options = self.pieces.options
        if self.request.headers.get("Content-Encoding", "identity").lower() != "identity":
            self.reason = ENCODED
            return body
        off = self.request.headers.get(OWN, "").strip().lower() == "off"
        if off and self.pieces.log is None:
            check_depth(body, options.depth_limit)
            self.reason = OPTED_OUT
            return body
        asked = self._asked = read(self.kind, body, options.depth_limit)
        self.reason = OPTED_OUT if off else asked.reason
        if self.pieces.turns is None or off:
            return await self._of_asked(asked, body)
        changes, self._turns, last = self.pieces.turns.earlier(asked)
        kept = asked.with_rewrites([None] * len(asked.slots), changes) if changes else body
        sent = await self._of_asked(asked, kept, changes)
        if last is not None and self._arm == "rewritten" and (text := self._made[-1].rewritten.text) is not None:
            self.pieces.turns.note(last, text)
        return sent

    async def _of_asked(self, asked: wire.Asked, body: bytes, changes: wire.Changes | None = None) -> bytes:
        """The body with the rewrites and the changes, or `body` where there are no rewrites to send."""
        if self.reason is not None:
            return body
        options = self.pieces.options
        self._assigned = self._assignment(asked)
        making = _all_made(self.pieces, asked.slots)
        if self._assigned == "original":
            self.reason, self._beside = AB if options.mode == "ab" else SHADOW, asyncio.ensure_future(making)
            return body
        self._made = await making
        self.reason = next((one.rewritten.reason for one in self._made if one.rewritten.reason), None)
        if self.reason is None:
            return asked.with_rewrites([one.rewritten.text for one in self._made], changes)
        if options.fail_closed:
            told = f"the prompt was not rewritten ({self.reason}), and the server was told to send no other"
            raise receiving.Refused(503, told, "not_rewritten")
        return body

    def _assignment(self, asked: wire.Asked) -> audit.Arm:
        """Which arm: in A/B the same for all of a conversation, by what it begins with."""
        options = self.pieces.options
        if options.mode == "ab":
            return "rewritten" if int(audit.unit(asked.slots[0].prompt)[:8], 16) < options.share * 2**32 else "original"
        return "original" if options.mode == "shadow" else "rewritten"

    def _finish(self, now: float) -> None:
        """Count it and write it down, once its rewrites are there."""
        metrics, arm = self.pieces.metrics, self._arm
        metrics.count("alignpro_requests_total", kind=self.kind, status=str(self._status or "none"))
        if self._sent is not None or self.reason is not None:
            metrics.count("alignpro_prompts_total", max(1, len(self._slots)), arm=arm, reason=self.reason or "")
        if self._ended != "whole":
            metrics.count("alignpro_answers_broken_total", by="upstream" if self._ended == "reset" else "client")
        if self._sent is not None and self._headed is not None:
            metrics.observe("alignpro_first_byte_seconds", self._headed - self._sent, arm=arm)
            metrics.observe("alignpro_answer_seconds", now - self._sent, arm=arm)
        if self._trace is not None:
            self._end_trace(self._trace, now)
        if arm == "rewritten":
            metrics.count("alignpro_tokens_added", sum(one.rewritten.tokens_added or 0 for one in self._made))
        if self._beside is not None and not self._beside.done() and self._ended != "aborted":
            self._beside.add_done_callback(lambda made: self._write(now))
        else:
            if self._beside is not None:
                self._beside.cancel()
            self._write(now)

    def _end_trace(self, trace: Trace, now: float) -> None:
        if self._made and self._begun is not None:
            told = {"alignpro.prompts": len(self._made), "alignpro.cached": all(one.cached for one in self._made)}
            trace.rewrote(self._begun, self._begun + max(one.seconds for one in self._made), told)
        asked = self._asked
        trace.end(
            now,
            self._headed,
            self._ended == "reset" or (self._status or 0) >= 500,
            {"http.response.status_code": self._status, "http.request.resend_count": self._retries},
            {
                "http.request.method": "POST",
                "http.response.status_code": self._status,
                "gen_ai.request.model": asked.model if asked else None,
                "alignpro.kind": self.kind,
                "alignpro.id": self.id,
                "alignpro.arm": self._arm,
                "alignpro.reason": self.reason,
                "alignpro.version": self.headers.get(f"{OWN}-version"),
                "alignpro.ended": self._ended,
            },
        )

    @property
    def _slots(self) -> Sequence[wire.Slot]:
        return self._asked.slots if self._asked else ()

    @property
    def _arm(self) -> audit.Arm:
        return "rewritten" if self._made and self.reason is None else "original"

    def _write(self, now: float) -> None:
        if self.pieces.log is None or not self._slots:
            return
        if self._beside is not None and self._beside.done() and not self._beside.cancelled():
            self._made = self._beside.result()
        assert self._asked is not None
        for index, slot in enumerate(self._slots):
            made = self._made[index] if self._made else None
            new = made.rewritten if made else Rewritten(None)
            row = audit.Row(
                time=self.came,
                id=self.id,
                index=index,
                kind=self.kind,
                model=self._asked.model,
                mode=self.pieces.options.mode,
                arm=self._arm,
                assigned=self._assigned,
                reason=self.reason,
                version=new.version,
                unit=audit.unit(slot.prompt),
                x_digest=audit.digest(slot.prompt),
                x=slot.prompt.text,
                x_new=new.text,
                tokens_added=new.tokens_added,
                cached=made.cached if made else False,
                rewrite_ms=_ms(made.seconds if made else None),
                first_byte_ms=_ms(self._headed - self._sent if self._headed and self._sent else None),
                upstream_ms=_ms(now - self._sent if self._headed and self._sent else None),
                status=self._status if self._ended != "aborted" else None,
                ended=self._ended,
                retries=self._retries,
                streamed=self._asked.streamed,
                answer_id=self._seen.answer_id if self._seen else None,
                usage=self._seen.usage if self._seen else None,
            )
            self.pieces.log.write(row)


async def made_of(pieces: Pieces, x: Prompt) -> Made:
    """What becomes of a prompt, and how long that took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    rewritten, cached = await pieces.prompters.rewrite(x)
    made = Made(rewritten, cached, loop.time() - begun)
    pieces.metrics.observe("alignpro_rewrite_seconds", made.seconds, cached=str(cached).lower())
    return made


async def _all_made(pieces: Pieces, slots: Sequence[wire.Slot]) -> list[Made]:
    if len(slots) == 1:
        return [await made_of(pieces, slots[0].prompt)]
    return await asyncio.gather(*(made_of(pieces, slot.prompt) for slot in slots))


def read(kind: str, body: bytes, depth_limit: int) -> wire.Asked:
    """The prompts of a body. Raises Refused where it is too deep."""
    check_depth(body, depth_limit)
    try:
        return wire.read(kind, body)
    except RecursionError:
        raise _too_deep(depth_limit) from None


def check_depth(body: bytes, limit: int) -> None:
    """Raise Refused where lists and objects stand deeper in one another; who opens few need not be looked at."""
    if body.count(b"[") + body.count(b"{") > limit and spans.depth(body.decode("utf-8", "replace")) > limit:
        raise _too_deep(limit)


def _too_deep(limit: int) -> receiving.Refused:
    told = f"lists and objects stand more than {limit} deep in one another"
    return receiving.Refused(400, told, "too_deep")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 3)
