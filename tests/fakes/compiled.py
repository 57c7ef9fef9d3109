"""Compiled code: archives as pods pack them and as they must not be, and engines that give them away."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from genai_pipeline.core.compile_cache import Reason, Restored
from genai_pipeline.gateways.inference.abc import PulledCache

ROOT = "cache/vllm/torch_compile_cache"


def archive(*members: tarfile.TarInfo, files: dict[str, bytes] | None = None) -> bytes:
    """A tar with these files, and then these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, body in (files if files is not None else {f"{ROOT}/a/graph": b"compiled"}).items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        for member in members:
            tar.addfile(member)
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


MADE_WITH = {"vllm": "0.33.0", "python": "3.12.3"}
MISSED = Restored(Reason.NONE, "this release has no archive yet", 0, 0.1, "")


@dataclass
class CompiledCode:
    """What the engines of an in-memory world say of their compiled code.

    Attributes:
        restored: the answer of every pod; None: it has no such path.
        packed: the archive; None: nothing was compiled.
        fault: raised instead of an answer.
        pulled: how often an archive was asked for, and with which token.
    """

    restored: Restored | None = MISSED
    packed: bytes | None = field(default_factory=archive)
    fault: Exception | None = None
    pulled: list[str] = field(default_factory=list)

    def pull(self, token: str, sink: Callable[[bytes], object]) -> PulledCache:
        self.pulled.append(token)
        if self.fault:
            raise self.fault
        if self.packed is None:
            return PulledCache({}, "nothing is compiled")
        sink(self.packed)
        return PulledCache(MADE_WITH)


class PackingServer:
    """An engine on a loopback port that answers the pipeline's two paths, or breaks.

    Args:
        token: that it asks for.
        said: body of /genai/restored; None: 404.
        status: of /genai/compile-cache.
        length: what Content-Length says; None: the truth.
        headers: more of them; an empty value removes one.
        stalls_after: bytes that it sends before it sends no more; None: all.
    """

    def __init__(
        self,
        token: str = "secret-token",
        said: bytes | None = None,
        status: int = 200,
        body: bytes = b"",
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
        stalls_after: int | None = None,
    ) -> None:
        self.token, self.said, self.status, self.body = token, said, status, body
        self.length, self.headers, self.stalls_after = length, dict(headers or {}), stalls_after
        self.stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"engine": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> PackingServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: PackingServer

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        engine = self.engine
        path = self.path.partition("/proxy")[2] or self.path
        if self.headers.get("X-Genai-Pipeline-Token") != engine.token:
            self._answer(404, b"")
        elif path == "/genai/restored":
            self._answer(404 if engine.said is None else 200, engine.said or b"")
        elif path == "/genai/compile-cache":
            self._answer(engine.status, engine.body if engine.status == 200 else b"")
        else:
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes) -> None:
        engine = self.engine
        length = len(body) if engine.length is None else engine.length
        made_with = {"X-Genai-Made-With": json.dumps(MADE_WITH)} if status == 200 else {}
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(length)} | made_with | engine.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: engine.stalls_after])
        self.wfile.flush()
        if engine.stalls_after is not None:
            engine.stopped.wait(30)
        if length != len(body):
            self.close_connection = True
