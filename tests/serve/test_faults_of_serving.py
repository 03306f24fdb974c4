"""What goes wrong on either side: each fault is told as it is, holds nobody else up, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import sys
import textwrap

import aiohttp
import psutil
import pytest
from aiohttp import web
from standing import EVENTS, answer, good, rows, running, settled, standing, streams, upstream, user

from alignpro.errors import UsageError
from alignpro.serve import service
from alignpro.serve.link import Link, NotStarted
from alignpro.serve.options import Options


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr("alignpro.serve.relay.FIRST_WAIT", 0.001)


def first(*faults):
    """An upstream that does these to the first requests, and answers the others."""
    left = list(faults)

    async def script(request, body):
        return await left.pop(0)(request) if left else await good(request, body)

    return script


def says(status, **headers):
    async def fault(request):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response({"error": {"message": f"its own words {status}"}}, status=status, headers=named)

    return fault


async def resets(request):
    request.transport.abort()
    raise asyncio.CancelledError


async def stalls(request):
    await asyncio.sleep(30)


@pytest.mark.parametrize("fault", [says(429, Retry_After="0"), says(503), says(529, retry_after_ms="2"), resets])
def test_what_passes_is_tried_again_before_the_first_byte(fault, tmp_path):
    async def test():
        async with standing(first(fault, fault), audit=tmp_path / "log") as s:
            status, headers, body = await s.ask(user())
            assert (status, json.loads(body), headers["x-alignpro"]) == (200, answer(), "rewritten")
            assert len(set(s.upstream.bodies)) == 1
            assert len(s.upstream.bodies) == 3
            assert (await rows(tmp_path / "log", 1))[0].retries == 2
            assert await s.metric("alignpro_upstream_retries_total") == 2

    running(test)


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        (says(429, Retry_After="0"), 3),
        (says(429, Retry_After="3600"), 1),  # the client may wait so long, this server does not
        (says(400), 1),
        (says(500), 1),
        (says(503), 3),
    ],
)
def test_the_upstreams_own_words_reach_the_client(fault, tries):
    async def test():
        async with standing(first(*[fault] * 9)) as s:
            status, headers, body = await s.ask(user())
            told = await fault(None)
            assert (status, body) == (told.status, told.body)
            assert headers.get("Retry-After") == told.headers.get("Retry-After")
            assert len(s.upstream.seen) == tries

    running(test)


def test_an_upstream_that_gives_no_answer_is_told_apart_from_one_that_does():
    async def test():
        async with standing(first(*[resets] * 9), retries=1) as s:
            status, headers, body = await s.ask(user())
            assert (status, headers["x-alignpro"]) == (502, "rewritten")
            assert "broke off before it answered" in json.loads(body)["error"]["message"]
            assert len(s.upstream.seen) == 2
        async with standing(first(stalls), idle=0.05) as s:
            status, _, body = await s.ask(user())
            assert (status, len(s.upstream.seen)) == (504, 1)
        async with standing(upstream="http://127.0.0.1:1/v1") as s:
            status, _, body = await s.ask(user())
            assert (status, "cannot be reached" in json.loads(body)["error"]["message"]) == (502, True)
            status, _, body = await s.ask(b"{}", "/v1/embeddings")
            assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_error")

    running(test)


def breaking_off(after, **options):
    """A stream of which so many events are sent; options are the response's."""

    async def script(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **options})
        await response.prepare(request)
        for event in EVENTS[:after]:
            await response.write(event)
            await asyncio.sleep(0.005)
        request.transport.abort()
        return response

    return script


async def raw(port, body, version="1.1"):
    """All that comes back, until the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/chat/completions HTTP/{version}\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("length", [{}, {"Content-Length": "9999"}])
def test_an_answer_that_breaks_off_is_no_whole_answer(after, length, tmp_path):
    async def test():
        async with standing(breaking_off(after, **length), audit=tmp_path / "log") as s:
            with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
                await s.ask(user(stream=True))
            told = await raw(s.service.port, json.dumps(user(stream=True)).encode())
            assert not told.endswith(b"0\r\n\r\n")
            assert b"[DONE]" not in told
            assert (EVENTS[0] in told) == (after > 0)
            assert [row.ended for row in await rows(tmp_path / "log", 2)] == ["reset"] * 2
            with pytest.raises(ConnectionResetError):  # of HTTP/1.0, where an end in order would be the answer's
                await raw(s.service.port, json.dumps(user(stream=True)).encode(), "1.0")

    running(test)


def test_an_upstream_that_falls_silent_in_mid_stream_is_broken_off(tmp_path):
    async def halting(request, body):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(EVENTS[0])
        await stalls(request)

    async def test():
        async with standing(halting, audit=tmp_path / "log", idle=0.05) as s:
            with pytest.raises(aiohttp.ClientPayloadError):
                await s.ask(user(stream=True))
            assert [row.ended for row in await rows(tmp_path / "log", 1)] == ["reset"]
            await settled(lambda: s.upstream.cancelled == 1)

    running(test)


@pytest.mark.parametrize("when", ["rewriting", "waiting", "streaming"])
def test_clients_that_go_away_leave_nothing_behind(when, tmp_path):
    """`ALIGNPRO_ABORTS=1000` has so many of them go, at most 50 at a time."""
    times = int(os.environ.get("ALIGNPRO_ABORTS", "30"))

    async def slowly(request, body):
        if when == "waiting":
            await stalls(request)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in EVENTS:
            await response.write(event)
            await asyncio.sleep(1)
        return response

    async def test():
        async with standing(slowly, audit=tmp_path / "log", queue=50) as s:
            await settled(lambda: s.service.prompters._wakes)
            before, files = len(asyncio.all_tasks()), psutil.Process().num_fds()

            async def asks(i):
                reader, writer = await asyncio.open_connection("127.0.0.1", s.service.port)
                body = json.dumps(user(f"owl {i}", stream=True)).encode()
                head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
                writer.write(head + body)
                if when == "streaming":
                    await reader.readuntil(EVENTS[0])
                return writer

            gone = 0
            while gone < times:
                if when == "rewriting":
                    s.prompter.hold = asyncio.Event()
                together = min(50, times - gone)
                left = await asyncio.gather(*(asks(gone + i) for i in range(together)))
                if when == "rewriting":
                    await settled(lambda: s.service.app.active == together)  # noqa: B023
                else:
                    await settled(lambda: len(s.upstream.seen) == gone + together)  # noqa: B023
                for writer in left:
                    writer.transport.abort()
                gone += together
                await settled(lambda: s.service.app.active == 0)
                await settled(lambda: s.upstream.cancelled == (0 if when == "rewriting" else gone))  # noqa: B023
                await settled(lambda: s.upstream.connections() == 0)
                assert s.service.prompters.waiting == 0
                if s.prompter.hold:
                    s.prompter.hold.set()
                await settled(lambda: len(asyncio.all_tasks()) <= before)
            await settled(lambda: psutil.Process().num_fds() <= files)
            assert [row.ended for row in await rows(tmp_path / "log", times)] == ["aborted"] * times

    running(test, 60 + times)


def test_slow_and_endless_requests_are_cut_off():
    async def test():
        async with standing(receive=0.5, body_limit=1000) as s:
            assert (await s.ask(user("x" * 1000)))[0] == 413

            async def endless():
                while True:
                    yield b"x" * 100

            async with s.client.post(f"{s.url}/v1/chat/completions", data=endless()) as response:
                assert response.status == 413
            began = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n"
            for part in (began, began + b"Content-Length: 50\r\n\r\n{", b""):
                reader, writer = await asyncio.open_connection("127.0.0.1", s.service.port)
                writer.write(part)
                told = await asyncio.wait_for(reader.read(), 2)
                assert (b"HTTP/1.1 408" in told) == (b"50" in part)
                writer.close()
            async with s.client.post(f"{s.url}/v1/files", data=b"x" * 5000) as response:
                assert response.status == 200  # what passes is never whole here
            assert s.upstream.bodies == [b"x" * 5000]

    running(test)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
@pytest.mark.parametrize("slow", ["head", "body"])
def test_a_client_that_drips_is_cut_off(path, slow):
    async def test():
        async with standing(receive=0.5) as s:
            reader, writer = await asyncio.open_connection("127.0.0.1", s.service.port)
            head = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n"
            writer.write((head + "X-Slow: " if slow == "head" else head + "\r\n{").encode())
            reading = asyncio.ensure_future(reader.read(4096))
            for _ in range(60):
                await asyncio.sleep(0.05)
                if reading.done():
                    break
                writer.write(b"x")
            assert reading.done()
            writer.close()
            assert slow == "head" or b"HTTP/1.1 408" in reading.result()
            await settled(lambda: s.service.app.active == 0 and not s.service._server.connections)

    running(test)


def test_what_is_nested_too_deeply_is_refused():
    async def test():
        async with standing() as s:
            for deep in (b"[" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200):
                for headers in ({}, {"x-alignpro": "off"}):
                    status, _, body = await s.ask(b'{"messages": [], "x": ' + deep, headers=headers)
                    assert (status, json.loads(body)["error"]["code"]) == (400, "too_deep")
            assert s.upstream.seen == []

    running(test)


def test_at_sigterm_what_was_accepted_is_finished_and_what_comes_is_refused(tmp_path):
    told = []

    async def test():
        async with upstream(streams) as above, aiohttp.ClientSession() as client:
            script = tmp_path / "prompter.py"
            script.write_text(PROMPTER.format(rewrites="[[x[0].upper(), None, 1] for x in asked]"))
            with_port = asyncio.get_running_loop().create_future()
            said = lambda line: told.append(line) or (with_port.done() or with_port.set_result(line))  # noqa: E731
            options = Options(above.url, port=0)
            ending = asyncio.create_task(service._until_told(options, [sys.executable, str(script)], said))
            url = (await with_port).split()[0]
            await settled(lambda: any("ready" in line for line in told), 10)

            async def ask(i):
                async with client.post(f"{url}/chat/completions", json=user(f"owl {i}", stream=True)) as response:
                    return response.status, await response.read()

            under_way = [asyncio.create_task(ask(i)) for i in range(20)]
            await settled(lambda: len(above.seen) == 20)
            os.kill(os.getpid(), signal.SIGTERM)
            late = []
            while not ending.done():
                try:
                    late.append((await ask(99))[0])
                except aiohttp.ClientError:
                    break
                await asyncio.sleep(0.005)
            assert await asyncio.gather(*under_way) == [(200, b"".join(EVENTS))] * 20
            assert set(late) <= {200, 503}
            assert late[-1] == 503
            await ending

    running(test)
    assert "told to end" in told[-1]


PROMPTER = textwrap.dedent(
    """
    import json, socket, sys, time
    link = socket.socket(fileno=0).makefile("rwb")
    def send(tree):
        body = json.dumps(tree).encode()
        link.write(len(body).to_bytes(4, "big") + body)
        link.flush()
    send(["scripted", "v1", 4, 1])
    while size := link.read(4):
        number, asked = json.loads(link.read(int.from_bytes(size, "big")))
        send([number, {rewrites}])
    """
)


def test_a_prompters_process_may_be_killed_or_never_start(tmp_path, monkeypatch):
    monkeypatch.setattr("alignpro.serve.prompters.FIRST_WAIT", 0.01)
    script = tmp_path / "prompter.py"
    script.write_text(PROMPTER.format(rewrites="[[f'{x[0]}!', None, 1] for x in asked]"))

    async def test():
        async def start():
            return await Link.start([sys.executable, str(script)])

        async with standing(start=start, workers=2) as s:
            assert (await s.ask(user("owls \ud83e\udd89")))[1]["x-alignpro"] == "rewritten"
            sent = json.loads(s.upstream.bodies[0])["messages"][0]["content"]
            assert sent == "owls \ud83e\udd89!".encode("utf-16", "surrogatepass").decode("utf-16")
            for link in list(s.service.prompters._serving):
                os.kill(link._process.pid, signal.SIGKILL)
            assert (await s.ask(user("rain")))[0] == 200
            await settled(lambda: s.service.prompters.restarts == 2 and s.service.prompters.ready, 10)
            assert (await s.ask(user("hail")))[1]["x-alignpro"] == "rewritten"
        for code, told in ((2, 2), (0, 1), (7, 1)):
            with pytest.raises(NotStarted) as failed:
                await Link.start([sys.executable, "-c", f"raise SystemExit({code})"])
            assert failed.value.exit_code == told

    running(test)


def test_a_port_that_is_taken_is_told():
    async def test():
        async with standing() as s:
            with pytest.raises(UsageError, match="cannot listen on"):
                async with standing(port=s.service.port):
                    pass

    running(test)
