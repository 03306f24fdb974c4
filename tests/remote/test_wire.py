"""One exchange over HTTP: what each fault is called, proxies, and where a key comes from."""

import asyncio
import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from scripted_server import Reply, ScriptedServer, completion, fault

from alignpro.remote.access import Access
from alignpro.remote.wire import Client, Fault, Refused, Throttled

KEY = "sk-never-to-be-seen-0123456789"


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def exchange(url, connect=60.0, timeout=60.0):
    async def once():
        client = Client([url], Access({"Authorization": f"Bearer {KEY}"}, secrets=(KEY,)), connect)
        try:
            return await client.exchange(url, {"messages": [{"content": "hello"}]}, timeout)
        finally:
            await client.close()

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, fault("no such option", param="seed"), "no such option"),
        (422, {"error": "in  one\nword"}, "in one word"),
        (400, {"message": "at the top"}, "at the top"),
        (413, b"<html><style>p {}</style><h1>too</h1> <p>large &amp; long</html>", "too large & long"),
        (400, b"\xff\xff", "\ufffd\ufffd"),
        (400, fault(f"your key is {KEY}"), "your key is [key]"),
        (304, b"", ""),
    ],
)
def test_a_refusal_is_read_in_every_form(status, body, message):
    with ScriptedServer(lambda r: Reply(status, body)) as server, pytest.raises(Refused) as caught:
        exchange(server.url)
    assert (caught.value.status, caught.value.message) == (status, message)
    assert caught.value.option == ("seed" if message == "no such option" else "")


def test_faults_of_the_server_and_of_the_way_to_it():
    broke = Reply(429, fault("no", type="insufficient_quota"), {"retry-after": "7"})
    with ScriptedServer(lambda r: broke) as server, pytest.raises(Throttled) as throttled:
        exchange(server.url)
    assert (throttled.value.retry_after, throttled.value.out_of_credit) == (7.0, True)
    for status, reached in ((500, True), (408, True), (502, False), (503, False)):
        with ScriptedServer(lambda r, status=status: Reply(status, b"")) as server, pytest.raises(Fault) as caught:
            exchange(server.url)
        assert (caught.value.reason, caught.value.reached) == (f"server error {status}", reached)
    with pytest.raises(Fault) as gone:
        exchange(server.url)
    assert gone.value.reason.startswith("cannot be reached") and not gone.value.reached
    with ScriptedServer(lambda r: Reply(delay=1e6)) as server, pytest.raises(Fault) as silent:
        exchange(server.url, timeout=0.2)
    assert silent.value.reason == "no answer within 0.2 s" and silent.value.reached


def test_a_connection_that_is_never_made_is_no_silence_of_the_server():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        crowd = [socket.socket() for _ in range(4)]  # they fill its queue, so that the next one waits for good
        try:
            for one in crowd:
                one.setblocking(False)
                one.connect_ex(deaf.getsockname())
            with pytest.raises(Fault) as caught:
                exchange(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", connect=0.3)
        finally:
            for one in crowd:
                one.close()
    assert caught.value.reason.startswith("cannot be reached") and not caught.value.reached


@pytest.fixture
def proxy():
    """A proxy that answers by itself, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, dict(self.headers.items())))
            body = json.dumps(completion("by the proxy")).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self):
            asked.append((self.path, dict(self.headers.items())))
            self.send_error(403)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_environment_names_the_proxy_and_what_goes_past_it(proxy, monkeypatch):
    address, asked = proxy
    words = "Basic " + base64.b64encode(b"me:p@ss").decode()
    monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss@{address}")
    monkeypatch.setenv("HTTPS_PROXY", f"me:p%40ss@{address}")
    body = exchange("http://a.model.invalid:8000/v1")
    assert body["choices"][0]["message"]["content"] == "by the proxy"
    path, headers = asked.pop()
    assert path == "http://a.model.invalid:8000/v1/chat/completions"
    assert headers["Proxy-Authorization"] == words and headers["Authorization"] == f"Bearer {KEY}"
    with pytest.raises(Fault):
        exchange("https://a.model.invalid/v1")
    path, headers = asked.pop()
    assert path == "a.model.invalid:443" and headers["Proxy-Authorization"] == words
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(Fault):
        exchange("https://a.model.invalid/v1")
    path, told = asked.pop()
    assert "Proxy-Authorization" not in told and KEY not in f"{headers} {told}"  # a proxy is no provider
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ScriptedServer() as server:
        body = exchange(server.url)
        assert "proxy-authorization" not in server.requests[0].headers
    assert not asked and body["choices"]


def test_a_users_netrc_neither_replaces_the_key_nor_stands_in_its_way(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with ScriptedServer() as server:
        exchange(server.url)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
