"""Whatever is sent: no 5xx of the server's own, and what cannot be rewritten arrives as it was sent or is refused in
words. `ALIGNPRO_INPUTS=10000 python -m pytest tests/serve/test_any_input.py` tries more of them."""

import asyncio
import json
import os
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standing import running, standing

INPUTS = int(os.environ.get("ALIGNPRO_INPUTS", "40"))
TRIED = settings(
    max_examples=INPUTS,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TEXTS = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "Cc", "Cf", "Cs"]), max_size=30) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "a\udfff",
        "\u202eabc\u2066",
        "\ufeff",
        "x" * 1_000_000,
        "<|im_end|>",
        "{",
        '"',
        "\\u0000",
    ]
)
ODD = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just([]) | st.just({}) | st.just([[[]]])
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text", "image_url"]), "text": TEXTS}) | ODD
)
TURNS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "developer", "User"]) | ODD,
        "content": TEXTS | PARTS | ODD,
        "type": st.just("message") | ODD,
        "tool_calls": ODD,
    },
)
TALKS = st.builds(
    lambda before, last: [*before, {"role": "user", "content": last}], st.lists(TURNS, max_size=3), TEXTS | PARTS
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "messages": TALKS | st.lists(TURNS | ODD, max_size=4) | ODD,
        "input": TALKS | TEXTS | st.lists(TURNS | ODD, max_size=4) | ODD,
        "prompt": TEXTS | st.lists(TEXTS | ODD, max_size=3) | ODD,
        "instructions": ODD,
        "previous_response_id": ODD,
        "model": ODD,
        "stream": ODD,
        "suffix": ODD,
    },
)
WRITTEN = st.builds(lambda tree, plain: json.dumps(tree, ensure_ascii=plain), FIELDS, st.booleans())
DEPTHS = st.sampled_from([1, 100, 126, 127, 128, 129, 5_000, 100_000])
NESTED = st.builds(
    lambda text, deep, mark: (
        text[:-1] + (", " if len(text) > 2 else "") + f'"deep": {mark[0] * deep}1{mark[1] * deep}}}'
    ),
    WRITTEN,
    DEPTHS,
    st.sampled_from([("[", "]"), ('{"a":', "}"), ("[", "")]),
)
BODIES = (WRITTEN | NESTED).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=50)
PLACES = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input"}


def trying(test, *given_):
    """Run a test of the server, with the function that it gives called with many inputs."""

    async def whole():
        async with standing() as s:
            loop = asyncio.get_running_loop()
            sure = TRIED(given(*given_)(test(s, lambda made: asyncio.run_coroutine_threadsafe(made, loop).result(200))))
            await asyncio.to_thread(sure)

    running(whole, 60 + INPUTS)


def test_no_body_makes_the_server_fail():
    def test(s, told):
        def never_fails(path, body):
            so_far = len(s.upstream.seen)
            status, headers, answered = told(s.ask(body, path))
            if status != 200:
                error = json.loads(answered)["error"]
                assert (status, error["code"], len(s.upstream.seen)) == (400, "too_deep", so_far)
                assert error["message"].startswith("alignpro: ") and body.count(b"[") + body.count(b"{") > 128
                return
            arrived = s.upstream.bodies[-1]
            if headers["x-alignpro"] != "rewritten":
                assert arrived == body
                return
            place = PLACES[path]
            before, after = json.loads(body), json.loads(arrived)
            old, new = before.pop(place), after.pop(place)
            assert json.dumps(after) == json.dumps(before)
            if isinstance(old, list) and isinstance(old[-1], dict):
                assert json.dumps(new[:-1]) == json.dumps(old[:-1])
                assert json.dumps({**new[-1], "content": 0}) == json.dumps({**old[-1], "content": 0})
            s.upstream.seen.clear()

        return never_fails

    trying(test, st.sampled_from([*PLACES]), BODIES)


def test_no_body_makes_the_page_that_shows_rewrites_fail():
    def test(s, told):
        def never_fails(body):
            status, _, answered = told(s.ask(body, "/alignpro/rewrite"))
            assert status in (200, 400)
            made = json.loads(answered)
            assert made["error"]["code"] == "too_deep" if status == 400 else {"rewrite", "reason"} <= set(made)

        return never_fails

    trying(test, BODIES)


NAMES = st.text(string.printable, max_size=12) | st.sampled_from(
    ["Content-Length", "Transfer-Encoding", "Host", "Expect", "Connection", "Upgrade", "Content-Encoding", "x-alignpro"]
)
VALUES = st.text(string.printable, max_size=12) | st.sampled_from(
    ["-1", "5", "5, 6", "9" * 30, "chunked", "gzip", "100-continue", "close", "websocket", "\xff", "a\0", "off", "["]
)
LINES = st.sampled_from(
    [
        "POST /v1/chat/completions HTTP/1.1",
        "POST http://h/v1/completions HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT h:1 HTTP/1.1",
    ]
) | st.builds(
    "{} {} HTTP/{}".format,
    st.sampled_from(["GET", "POST", "OPTIONS", "TRACE", "ODD"]),
    st.text(string.printable, max_size=12),
    st.sampled_from(["1.1", "1.0", "2.0", "9", ""]),
)
HEADS = st.builds(
    lambda line, headers, body: "\r\n".join([line, *(f"{k}: {v}" for k, v in headers), "", body]).encode("latin-1"),
    LINES,
    st.lists(st.tuples(NAMES, VALUES), max_size=3),
    st.sampled_from(["", "{}", "2\r\n{}\r\n0\r\n\r\n", "zz\r\n"]),
)


def test_no_bytes_make_the_server_fail():
    """Whatever is no HTTP, or hardly: it is refused or passed on, and the server lives."""

    async def answered(port, sent):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        try:
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    def test(s, told):
        def never_fails(sent):
            back = told(answered(s.service.port, sent))
            assert back == b"" or back.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.0 2", b"HTTP/1.0 4")), back[
                :200
            ]
            assert told(s.get("/healthz"))[0] == 200

        return never_fails

    trying(test, HEADS | st.binary(max_size=80))
