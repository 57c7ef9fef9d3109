"""A model that streams its answer in pieces, and stops before each one until it is told to go on."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.listening import Listening


class HaltingModel(Listening):
    """Serves the model `scripted`. `go_on.release()` lets the next piece out; `gone` is set when the client went."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces, self.go_on, self.gone = pieces, threading.Semaphore(0), threading.Event()
        self.entered = threading.Event()
        super().__init__(_Handler)
        self.url = f"{self.address}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        model = self.server.fake
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        model.entered.set()
        self.connection.settimeout(0.02)
        for piece in model.pieces:
            while not model.go_on.acquire(timeout=0.02):
                if model.stopped.is_set() or self._left():
                    model.gone.set()
                    return
            self._send({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
        self._send({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._send({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, event: dict[str, Any]) -> None:
        frame = json.dumps({"id": "x", "object": "chat.completion.chunk"} | event)
        self.wfile.write(f"data: {frame}\n\n".encode())
        self.wfile.flush()

    def _left(self) -> bool:
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
