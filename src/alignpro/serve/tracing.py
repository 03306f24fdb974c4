"""Spans of OpenTelemetry, where they are asked for: how long a request took and what became of its prompt, with nothing
of what prompts and answers say."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict

from alignpro.errors import UsageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

Attributes = Mapping[str, str | bool | int | float | None]
_ASKS = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables of the environment of which any asks for spans."""
_LACKING = "spans need packages that are not here; pip install 'alignpro[otel]'"


def asked_for() -> bool:
    """Whether the environment asks for spans."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get(_ASKS[0]) == "none"
    return not off and any(os.environ.get(name) for name in _ASKS)


def provider() -> TracerProvider:
    """What sends spans where the environment says: by OTLP over HTTP, or to the console. Raises UsageError where the
    packages are not here or OTEL_TRACES_EXPORTER names another way."""
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
    except ImportError:
        raise UsageError(_LACKING) from None
    named = os.environ.get(_ASKS[0]) or "otlp"
    if named not in ("otlp", "console"):
        raise UsageError(f"{_ASKS[0]} is {named}; spans go out by otlp, or to the console; set one of these, or none")
    exporter: SpanExporter
    if named == "console":
        exporter = ConsoleSpanExporter(out=sys.stdout)  # the one of now, not of the import
    else:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            raise UsageError(_LACKING) from None
        exporter = OTLPSpanExporter()
    name = os.environ.get("OTEL_SERVICE_NAME") or "alignpro"
    made = TracerProvider(resource=Resource.create({"service.name": name}))
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


class Tracing:
    """Begins a trace, or goes on with a client's, for each request whose prompt may be rewritten."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("alignpro")

    def begin(self, headers: Mapping[str, str]) -> Trace:
        """A request has come, with these headers."""
        return Trace(self._tracer, headers)

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.to_thread(self._provider.shutdown)


def chosen(flag: bool | None, tell: Callable[[str], None]) -> Tracing | None:
    """As a flag says, or else the environment, which may ask for what is not here. Raises UsageError, as `provider`."""
    if not (asked_for() if flag is None else flag):
        return None
    try:
        return Tracing(provider())
    except UsageError as error:
        if flag:
            raise
        tell(f"no spans are sent, which OTEL_* of the environment ask for: {error}")
        return None


class Trace:
    """The spans of one request: its own, and within it those of the rewrite and of the upstream. Times are the event
    loop's."""

    def __init__(self, tracer: Tracer, headers: Mapping[str, str]) -> None:
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind, set_span_in_context

        self._tracer = tracer
        self._whole = tracer.start_span("request", propagate.extract(headers), SpanKind.SERVER)
        self._within = set_span_in_context(self._whole)
        self._upstream: Any = None
        self._zero = time.time_ns() - self._nanoseconds(asyncio.get_running_loop().time())

    def rewrote(self, begun: float, ended: float, told: Attributes) -> None:
        """Rewriting took from one time to another."""
        span = self._tracer.start_span("rewrite", self._within, start_time=self._at(begun), attributes=_known(told))
        span.end(self._at(ended))

    def asks(self, headers: CIMultiDict[str]) -> None:
        """The upstream is asked now, with headers that say of which trace that is."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind, set_span_in_context

        self._upstream = self._tracer.start_span("upstream", self._within, SpanKind.CLIENT)
        propagate.inject(headers, set_span_in_context(self._upstream, self._within))

    def end(self, now: float, headed: float | None, failed: bool, upstream: Attributes, told: Attributes) -> None:
        """The answer has ended; its first byte came at `headed`."""
        from opentelemetry.trace import StatusCode

        for span, attributes in ((self._upstream, upstream), (self._whole, told)):
            if span is None:
                continue
            span.set_attributes(_known(attributes))
            if headed is not None and span is self._upstream:
                span.add_event("first byte", timestamp=self._at(headed))
            if failed:
                span.set_status(StatusCode.ERROR)
            span.end(self._at(now))

    def _at(self, seconds: float) -> int:
        return self._zero + self._nanoseconds(seconds)

    @staticmethod
    def _nanoseconds(seconds: float) -> int:
        return int(1e9 * seconds)


def _known(told: Attributes) -> dict[str, str | bool | int | float]:
    return {name: value for name, value in told.items() if value is not None}
