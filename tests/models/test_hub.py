"""The hub is asked as its own client asks: also where only a proxy leads out."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import close_session, constants

from alignpro.errors import HubUnreachable
from alignpro.models.loading import resolve

NAME = "some-owner/a-model-that-nobody-has"


class Hub(BaseHTTPRequestHandler):
    """Has nothing, and says so."""

    def do_HEAD(self):
        self.send_response(404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def tunnelling(to=None):
    """A CONNECT proxy that leads to one port, or refuses; its address, and what it was asked for."""
    asked = []

    class Proxy(Hub):
        def do_CONNECT(self):
            asked.append(self.path)
            if to is None:
                self.send_error(407)
                return
            self.send_response(200)
            self.end_headers()
            with socket.create_connection(("127.0.0.1", to)) as out:
                back = threading.Thread(target=_pour, args=(out, self.connection), daemon=True)
                back.start()
                _pour(self.connection, out)
                back.join(10)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Proxy)) as server:
        yield f"http://127.0.0.1:{server.server_port}", asked


def _pour(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    close_session()  # one that was opened by other surroundings
    yield
    close_session()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate by openssl")
def test_a_hub_behind_a_proxy_is_reached(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "hub.pem"
    make = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=hub.invalid"
    more = ["-addext", "subjectAltName=DNS:hub.invalid", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *more], check=True, capture_output=True)
    hub = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    hub.socket = context.wrap_socket(hub.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(hub), tunnelling(hub.server_port) as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        assert resolve(NAME, "frozen") == NAME  # what the hub has, transformers says
    assert asked == ["hub.invalid:443"]


def test_a_proxy_that_leads_nowhere_is_told_of(monkeypatch):
    with tunnelling() as (proxy, asked):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(HubUnreachable, match=r"hub\.invalid cannot be reached .*407.* HTTPS_PROXY"):
            resolve(NAME, "frozen")
    assert asked == ["hub.invalid:443"]


def test_a_hub_that_cannot_be_reached_is_told_of_at_once():
    with pytest.raises(HubUnreachable, match=r"prompter\.model .*hub\.invalid cannot be reached"):
        resolve(NAME, "prompter")


def test_a_mirror_without_tls_is_reached_past_the_proxy(monkeypatch):
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Hub)) as hub, tunnelling() as (proxy, asked):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        assert resolve(NAME, "reward") == NAME and not asked
