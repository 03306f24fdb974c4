"""Spans of OpenTelemetry: a client's trace goes on through us to the upstream, and no text is in it."""

import asyncio
import json

import pytest
from aiohttp import web
from standing import Scripted, running, settled, standing, user

from alignpro.errors import UsageError
from alignpro.serve import tracing
from alignpro.serve.link import Rewritten

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FROM = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


@pytest.fixture
def spans():
    """What is exported, and the tracing that does."""
    exporting = pytest.importorskip("opentelemetry.sdk.trace.export")
    in_memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    from opentelemetry.sdk.trace import TracerProvider

    exporter, provider = in_memory.InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(exporting.SimpleSpanProcessor(exporter))
    return exporter, tracing.Tracing(provider)


def by_name(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_clients_trace_goes_on_to_the_upstream_without_any_text(spans):
    exporter, traced = spans

    async def test():
        async with standing(tracing=traced) as s:
            status, told, _ = await s.ask(user("secret owls", {"role": "system", "content": "hidden"}), headers=FROM)
            assert status == 200
            await settled(lambda: len(by_name(exporter)) == 3)
            made = by_name(exporter)
            whole, rewrite, upstream = (made[name] for name in ("request", "rewrite", "upstream"))
            assert {f"{span.context.trace_id:032x}" for span in made.values()} == {TRACE}
            assert f"{whole.parent.span_id:016x}" == PARENT
            assert rewrite.parent.span_id == upstream.parent.span_id == whole.context.span_id
            sent = s.upstream.seen[0][2]
            assert sent["traceparent"] == f"00-{TRACE}-{upstream.context.span_id:016x}-01"
            assert sent["tracestate"] == "vendor=1"
            assert whole.start_time <= rewrite.start_time <= rewrite.end_time <= upstream.end_time <= whole.end_time
            assert dict(whole.attributes) == {
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "gen_ai.request.model": "m",
                "alignpro.kind": "chat",
                "alignpro.id": told["x-alignpro-id"],
                "alignpro.arm": "rewritten",
                "alignpro.version": "v1",
                "alignpro.ended": "whole",
            }
            assert dict(rewrite.attributes) == {"alignpro.prompts": 1, "alignpro.cached": False}
            assert [event.name for event in upstream.events] == ["first byte"]
            told = " ".join(span.to_json() for span in made.values()).lower()
            assert not any(text in told for text in ("owls", "hidden", "fine"))

    running(test)


def test_faults_are_told_and_one_trace_is_begun_where_the_client_has_none(spans):
    exporter, traced = spans

    async def broken(request, body):
        return web.json_response({"error": "x"}, status=500)

    async def test():
        async with standing(broken, Scripted(lambda x: Rewritten(None, "guard-numbers")), tracing=traced) as s:
            await s.ask(user())
            await s.ask(b"{}", "/v1/files", headers=FROM)  # what is not rewritten goes on with the trace it has
            await settled(lambda: len(by_name(exporter)) == 3)
            made = by_name(exporter)
            assert made["request"].parent is None
            assert made["request"].attributes["alignpro.reason"] == "guard-numbers"
            assert [made[name].status.is_ok for name in ("request", "upstream", "rewrite")] == [False, False, True]
            assert s.upstream.seen[-1][2]["traceparent"] == FROM["traceparent"]

    running(test)


def test_without_spans_a_trace_passes_as_it_is():
    async def test():
        async with standing() as s:
            await s.ask(user(), headers=FROM)
            sent = s.upstream.seen[0][2]
            assert {name: sent[name] for name in FROM} == FROM

    running(test)


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "console"}, False),
    ],
)
def test_the_environment_asks_for_spans(environment, asked, monkeypatch):
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing.asked_for() == asked


def test_the_console_shows_spans_and_another_way_is_refused(monkeypatch, capsys):
    pytest.importorskip("opentelemetry.sdk.trace")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    told = []
    with pytest.raises(UsageError, match="is zipkin; spans go out by otlp"):
        tracing.chosen(True, told.append)
    assert (tracing.chosen(None, told.append), tracing.chosen(False, told.append)) == (None, None)
    assert len(told) == 1 and "is zipkin" in told[0]  # what the environment asks for stops no server
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-gateway")
    provider = tracing.provider()
    provider.get_tracer("t").start_span("shown").end()
    asyncio.run(tracing.Tracing(provider).close())
    (shown,) = [json.loads(capsys.readouterr().out)]
    assert (shown["name"], shown["resource"]["attributes"]["service.name"]) == ("shown", "my-gateway")
