"""A proxy in front of an API server that makes trouble: slow, failing, throttling, forgetful, away."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

ONE_IN_TWENTY = 20


@dataclass
class Trouble:
    """What goes wrong; a test may change it while requests go on.

    Attributes:
        delay_s: before every answer.
        fail_every, drop_every: each such request is answered 500; each such event of a watch ends it without a word.
        throttle: so many more requests are answered 429 with Retry-After.
        forget: so many more watches are told that their version is gone (410), and so is who asks for it again.
        hang: nothing is answered any more.
    """

    delay_s: float = 0.0
    fail_every: int = 0
    drop_every: int = 0
    throttle: int = 0
    forget: int = 0
    hang: bool = False


class FaultyApi:
    """Plain HTTP on loopback, TLS to the API server; the client's own credentials are passed on."""

    def __init__(self, upstream: Path, folder: Path) -> None:
        settings = yaml.safe_load(upstream.read_text())
        self.server_url = urlsplit(settings["clusters"][0]["cluster"]["server"])
        self.trouble = Trouble()
        self.made: Counter[str] = Counter()
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._forgotten: set[str] = set()
        self._port = 0
        self.come_back()
        settings["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        self.kubeconfig = folder / "faulty.kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(settings))

    def go_away(self) -> None:
        """As when the API server ends: connections break, new ones are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._server.break_connections()
        self.made["away"] += 1

    def come_back(self) -> None:
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", self._port), handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.go_away()

    def turn(self, what: str, every: int) -> bool:
        """Whether it is this one's turn of `every`."""
        with self._lock:
            self._seen[what] += 1
            hit = every > 0 and self._seen[what] % every == 0
            self.made[what] += hit
            return hit

    def has_forgotten(self, path: str) -> bool:
        if path not in self._forgotten and self.spend("forget"):
            self._forgotten.add(path)
        return path in self._forgotten

    def spend(self, what: str) -> bool:
        """Whether one is left of a number of troubles."""
        with self._lock:
            left = getattr(self.trouble, what)
            setattr(self.trouble, what, max(0, left - 1))
            self.made[what] += left > 0
            return left > 0


@contextmanager
def faulty_api(upstream: Path, folder: Path) -> Iterator[FaultyApi]:
    api = FaultyApi(upstream, folder)
    yield api
    api.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def break_connections(self) -> None:
        for connection in self._open:
            try:
                connection.shutdown(2)
            except OSError:
                continue  # ended on its own

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # connections that break are the point


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    api: FaultyApi

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        trouble = self.api.trouble
        watch = "watch=true" in self.path
        if trouble.hang:
            self.api.made["hang"] += 1
            self.api.over.wait(60)
        if trouble.delay_s:
            self.api.made["delay"] += 1
            self.api.over.wait(trouble.delay_s)
        if self.api.turn("fail", trouble.fail_every):
            self._say(500, "InternalError", "injected: an internal error")
        elif self.api.spend("throttle"):
            self._say(429, "TooManyRequests", "injected: too many requests", {"Retry-After": "1"})
        elif watch and self.api.has_forgotten(self.path):
            self._say(410, "Expired", "injected: too old resource version")
        else:
            self._pass(body, watch)

    do_PATCH = do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815

    def _pass(self, body: bytes, watch: bool) -> None:
        url = self.api.server_url
        context = ssl._create_unverified_context()
        upstream = http.client.HTTPSConnection(url.hostname or "", url.port, context=context, timeout=400)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        try:
            upstream.request(self.command, self.path, body or None, headers)
            response = upstream.getresponse()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            if watch:
                self._stream(response)
            else:
                whole = response.read()
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole)
        finally:
            upstream.close()

    def _stream(self, response: http.client.HTTPResponse) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        while line := response.readline():
            if self.api.turn("drop", self.api.trouble.drop_every):
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _say(self, code: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"kind": "Status", "reason": reason, "message": message, "code": code}).encode()
        self.send_response_only(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
