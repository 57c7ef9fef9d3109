"""What fakes that speak HTTP have in common: a thread for each request, on a free port, no log."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Listening:
    """Serves within `with`; `stopped` is set at its end, so that whatever waits may go."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], host: str = "127.0.0.1") -> None:
        self.stopped = threading.Event()
        silent = type("Handler", (handler,), {"log_message": lambda *_: None})
        self._server = Listener((host, 0), silent)
        self._server.fake = self
        self.address = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


class Listener(ThreadingHTTPServer):
    """`fake` is whom its handlers serve."""

    daemon_threads = True
    request_queue_size = 256
    fake: Any
