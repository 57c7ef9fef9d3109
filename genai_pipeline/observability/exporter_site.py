"""The web server of `genai exporter`: pages by their path, each a WSGI application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from genai_pipeline.core.errors import GenaiError

Environ = Mapping[str, Any]
App = Callable[[Any, Any], Iterable[bytes]]
"""A WSGI application."""

JSON = "application/json"


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None

    def address_string(self) -> str:
        return str(self.client_address[0])  # the usual one asks a name server


@contextmanager
def serving(host: str, port: int, pages: Mapping[str, App]) -> Iterator[None]:
    """Serve pages until the end of `with`. A path belongs to the longest one that it begins with.

    Raises: OSError: the port is taken.
    """
    server = make_server(host, port, _routed(pages), _Threaded, _Silent)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(make: Callable[[Environ], tuple[str, bytes]]) -> App:
    """Return an application that answers with what a function makes: content type and body.

    A GenaiError becomes a 503 with its words.
    """

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        try:
            kind, body = make(environ)
        except GenaiError as error:
            return answered(start_response, "503 Service Unavailable", "text/plain; charset=utf-8", str(error).encode())
        return answered(start_response, "200 OK", kind, body)

    return app


def json_page(make: Callable[[], Any]) -> App:
    """Return an application that answers with a function's result as JSON."""
    return page(lambda _: (JSON, json.dumps(make()).encode()))


def answered(start_response: Any, status: str, kind: str, body: bytes) -> Iterable[bytes]:
    """Answer a request at once."""
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _routed(pages: Mapping[str, App]) -> App:
    longest_first = sorted(pages, key=len, reverse=True)

    def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        found = next((prefix for prefix in longest_first if path == prefix or path.startswith(f"{prefix}/")), None)
        if found is None:
            return answered(start_response, "404 Not Found", "text/plain", b"not found")
        return pages[found](environ, start_response)

    return app
