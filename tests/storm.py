"""A server that plays every fault there is, in turn, and keeps its own ledger of what it charged."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scripted_server import NEVER, Reply, Request, completion, fault

CHARGED = (9, 4)
"""Tokens in and out of a fault that is charged for."""
_PAID = {"prompt_tokens": CHARGED[0], "completion_tokens": CHARGED[1]}
FAULTS: dict[str, Reply] = {
    "429, no time": Reply(429, fault("slow down"), {"retry-after": "0"}),
    "429, in ms": Reply(429, fault("slow down"), {"retry-after-ms": "20"}),
    "529": Reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "200, overloaded": Reply(200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "200, 429": Reply(200, fault("Rate limit exceeded", code=429)),
    "200, 502": Reply(200, fault("Provider returned error", code=502)),
    "200, charged": Reply(200, {**fault("upstream broke", code=500), "usage": _PAID}),
    "500": Reply(500, fault("oops")),
    "500, no time": Reply(500, fault("oops"), {"retry-after": "0"}),
    "502": Reply(502, b"<html>bad gateway</html>"),
    "503": Reply(503, fault("loading")),
    "504": Reply(504, b""),
    "408": Reply(408, fault("timeout")),
    "cut before": Reply(cut="before"),
    "cut midway": Reply(body=completion("lost"), cut="midway"),
    "torn JSON": Reply(body=b'{"choices": [{"mess'),
    "HTML": Reply(body=b"<html>welcome</html>"),
    "half a byte order mark": Reply(body=b"\xff\xfe"),
    "no object": Reply(body=[]),
    "no choices": Reply(body={"choices": []}),
    "no message": Reply(body={"choices": [{"message": None}]}),
    "broken off, charged": Reply(body=completion("half", finish_reason="error", usage=CHARGED)),
    "latin, unsaid": Reply(body='{"choices": [{"message": {"content": "é"}}]}'.encode("latin-1")),
}
"""What a server does that is mended by asking again."""
SILENCE = {"silence": Reply(delay=NEVER)}
FORMS = (
    lambda text: (text.encode(), {}),
    lambda text: (text.encode("utf-8-sig"), {}),
    lambda text: (text.encode("utf-16"), {}),
    lambda text: (text.encode("gb18030"), {"content-type": "application/json; charset=GB18030"}),
    lambda text: (text.encode(), {"content-type": "application/json; charset=ISO-8859-1"}),
)
"""Ways in which an answer's text is written."""
REFUSED = {
    "top_p": "`temperature` and `top_p` cannot both be specified for this model.",
    "min_p": "Unknown name: min_p",
}


@dataclass
class Storm:
    """Answers by prompt and seed alone, after a fault to some `share` of requests, no more than three for one question.

    Some prompts get no text, at any time: an empty answer, one cut off, filtered, without choices. `charged` are the
    tokens of answers, `wasted` those of faults and of probes. After `stop_at` answers nothing is answered until `go`.
    """

    share: float
    faults: dict[str, Reply] = field(default_factory=lambda: dict(FAULTS))
    charged: Counter[str] = field(default_factory=Counter)
    wasted: Counter[str] = field(default_factory=Counter)
    played: Counter[str] = field(default_factory=Counter)
    arrivals: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    stop_at: int | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> Reply:
        sent = request.body
        for name, words in REFUSED.items():
            if name in sent:
                return Reply(400, fault(words))
        if sent["max_tokens"] == 1:  # a probe
            return self._answer(request, self.wasted)
        if self.stop_at is not None and self.answers >= self.stop_at:
            self.stopped.set()
            return Reply(cut="before", hold=self.gone)
        question = f"{request.prompt} {sent['seed']}"
        self.arrivals[question] += 1
        luck = random.Random(f"{question} {self.arrivals[question]}")
        if self.arrivals[question] <= 3 and luck.random() < self.share:
            name = [*self.faults][sum(self.played.values()) % len(self.faults)]
            self.played[name] += 1
            if "charged" in name:
                self._book(self.wasted, *CHARGED)
            return self.faults[name]
        self.answers += sent.get("n", 1)
        return self._answer(request, self.charged)

    def _answer(self, request: Request, ledger: Counter[str]) -> Reply:
        n, seed = request.body.get("n", 1), request.body["seed"]
        body = completion(
            *(f"{request.prompt[-20:]} {seed} {i} 日本" for i in range(n)), usage=(len(request.prompt), 5)
        )
        kind = random.Random(request.prompt).randrange(40)
        if kind == 0:
            body["choices"][0]["message"]["content"] = ""
        if kind == 1:
            body["choices"] = [{"message": {"content": None}, "finish_reason": "length"} for _ in range(n)]
        if kind == 2:
            body["choices"][0]["finish_reason"] = "content_filter"
        if kind == 3:
            body["choices"] = []
        self._book(ledger, body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
        form = FORMS[self.answers % len(FORMS)] if self.share else FORMS[0]
        data, headers = form(json.dumps(body, ensure_ascii=False))
        return Reply(body=data, headers=headers)

    def _book(self, ledger: Counter[str], read: int, written: int) -> None:
        ledger["input"] += read
        ledger["output"] += written

    @property
    def total(self) -> tuple[int, int]:
        """Tokens in and out of all that was charged."""
        both = self.charged + self.wasted
        return both["input"], both["output"]


def told(books: dict[str, Any]) -> tuple[int, int]:
    """Tokens in and out of an account."""
    return books["input_tokens"], books["output_tokens"]
