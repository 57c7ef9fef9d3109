"""A hub with one file and bad days: each request takes the next fault off a list; with none left, all is well."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

COMMIT = "c" * 40
CONTENT = bytes(range(256)) * 2048


class FlakyHub(ThreadingHTTPServer):
    """Use as a context manager.

    Args:
        faults: a status to answer with, or truncate, drop, ignore_range, wrong_range, wrong_commit, no_commit.
        redirect_to, redirect_status: where GET /resolve/ sends its callers, if anywhere, and how.
        headers: sent with a status that is a fault.
        tls: what makes it an https server.
    """

    daemon_threads = True

    def __init__(
        self,
        *faults: int | str,
        redirect_to: str | None = None,
        headers: dict[str, str] | None = None,
        redirect_status: int = 302,
        tls: SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.faults: list[int | str] = list(faults)
        self.redirect_to, self.redirect_status = redirect_to, redirect_status
        self.fault_headers = headers or {}
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_port}"

    def __enter__(self) -> FlakyHub:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def headers_seen(self, name: str) -> Sequence[str | None]:
        return [headers.get(name.lower()) for _, headers in self.seen]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlakyHub  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "drop":
            self.close_connection = True
        elif isinstance(fault, int):
            self._answer(fault, self.server.fault_headers, b"")
        elif self.server.redirect_to and "/resolve/" in self.path:
            self._answer(
                self.server.redirect_status, {"X-Repo-Commit": COMMIT, "Location": self.server.redirect_to}, b""
            )
        else:
            self._content(fault)

    def _content(self, fault: str | None) -> None:
        start, end = 0, len(CONTENT)
        status, headers = 200, {"X-Repo-Commit": "d" * 40 if fault == "wrong_commit" else COMMIT}
        asked = self.headers.get("Range")
        if asked and fault != "ignore_range":
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(end, int(last) + 1) if last else end
            said = start + 1 if fault == "wrong_range" else start
            status, headers["Content-Range"] = 206, f"bytes {said}-{end - 1}/{len(CONTENT)}"
        if fault == "no_commit":
            del headers["X-Repo-Commit"]
        body = CONTENT[start:end]
        self._answer(status, headers, body[: len(body) // 2] if fault == "truncate" else body, len(body))

    def _answer(self, status: int, headers: dict[str, str], body: bytes, promised: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body) if promised is None else promised)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = promised is not None and promised != len(body)
