"""Kept connections, and the environment's proxy and certificates."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from urllib3.exceptions import HTTPError

from genai_pipeline.gateways.connections import Connections

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Server(ThreadingHTTPServer):
    """Remembers what it was asked, over how many connections, and what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.connections: set[Any] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_PUT(self) -> None:
        self.server.asked.append(self.path)
        self.server.connections.add(self.client_address)
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_GET(self) -> None:
        self.do_PUT()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_a_buffer_is_sent_and_the_connection_kept(server: Server):
    connections = Connections(2)
    for _ in range(3):
        body = memoryview(bytearray(b"weights"))[2:5]
        assert connections.request("PUT", f"{server.url}/k", {}, body).status == 200
    assert server.bodies == [b"igh"] * 3
    assert len(server.connections) == 1


def test_the_environments_proxy_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", server.url)
    answer = Connections(1).request("GET", "http://hub.invalid/file", {})
    assert (answer.status, server.asked) == (200, ["http://hub.invalid/file"])


def test_a_host_that_needs_no_proxy_is_asked_itself(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert Connections(1).request("GET", f"{server.url}/file", {}).status == 200


def test_a_redirect_is_an_answer_and_nothing_is_tried_again(server: Server):
    with pytest.raises(HTTPError):
        Connections(1).request("GET", "http://127.0.0.1:9/nobody", {})
    assert server.asked == []
