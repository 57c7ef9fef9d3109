"""An API server that says what a test told it to, request by request."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import kubernetes.client  # noqa: F401 (takes seconds, which no deadline of a test should have to pay)
import yaml

TOKEN = "a-secret-token"


@dataclass(frozen=True)
class Reply:
    """`events` makes it a stream: they are sent, then it ends, breaks, or stays silent until the stub closes.

    They are those of a watch, or pieces of a log.
    """

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any] | str] | None = None
    then: Literal["end", "break", "hang"] = "end"


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


def status(code: int, reason: str = "", message: str = "", causes: Sequence[Mapping[str, str]] = ()) -> Reply:
    """A failure as the API server words it."""
    details = {"causes": list(causes)}
    return Reply({"kind": "Status", "reason": reason, "message": message, "details": details, "code": code}, code)


def conflict(*held: tuple[str, str]) -> Reply:
    """Fields and their managers."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{m}" using v1', "field": f} for f, m in held
    ]
    return status(409, "Conflict", f"Apply failed with {len(causes)} conflict", causes)


class StubApi:
    """Replies stand in line by method and path; the last one stays. A watch has the method WATCH."""

    def __init__(self, folder: Path) -> None:
        self.seen: list[Seen] = []
        self.over = threading.Event()
        self._replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.kubeconfig = kubeconfig(folder / "kubeconfig", self.url)

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self._replies[(method, path)] = list(replies)

    def reply_to(self, method: str, path: str) -> Reply:
        line = self._replies.get((method, path))
        if not line:
            return status(404, "NotFound", f"{path} not found")
        return line.pop(0) if len(line) > 1 else line[0]

    def asked(self, method: str, path: str = "") -> list[Seen]:
        return [s for s in self.seen if s.method == method and path in s.path]

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def stub_api(folder: Path) -> Iterator[StubApi]:
    stub = StubApi(folder)
    yield stub
    stub.close()


def kubeconfig(file: Path, url: str, token: str = TOKEN) -> Path:
    file.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return file


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: StubApi

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True  # the client did not wait for it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        method = "WATCH" if query.get("watch") == "true" else self.command
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.stub.seen.append(Seen(method, url.path, query, {k.title(): v for k, v in self.headers.items()}, body))
        reply = self.stub.reply_to(method, url.path)
        if reply.events is None:
            self._whole(reply)
        else:
            self._watch(reply)

    def _whole(self, reply: Reply) -> None:
        if reply.then == "hang":
            self.stub.over.wait(30)
        text = reply.content if isinstance(reply.content, str) else json.dumps(reply.content)
        self.send_response(reply.status)
        self.send_header("Content-Type", "text/plain" if isinstance(reply.content, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def _watch(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in reply.events or ():
            data = event.encode() if isinstance(event, str) else json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()
        if reply.then == "hang":
            self.stub.over.wait(30)
        if reply.then == "break":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass
