"""Reaches a Service from outside the cluster, through a local port whose requests go by way of the API server.

Each Service has a listener, and each client connection a thread and a connection to the API server. Nothing is
buffered: a piece of a body goes on as soon as it arrives, in both directions, so that server-sent events arrive one by
one. The kubeconfig's credentials go to the API server only. It removes them before the request reaches the pod, and
with them any Authorization header of the caller.

Source: Kubernetes documentation, "Access services running on clusters".
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.gateways.cluster.kubernetes.connection import CONNECT_S, Connection

log = logging.getLogger(__name__)

READ_S = 600.0
PIECE = 65536
HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "host", "authorization", "content-length"}
)
_FRAMING = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Relay:
    """Listens on 127.0.0.1 until `close`. `prefix`: the path of the Service's proxy at the API server."""

    def __init__(self, connection: Connection, prefix: str) -> None:
        handler = type("Handler", (_Handler,), {"connection_upstream": connection, "prefix": prefix.rstrip("/")})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"relay {prefix}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a client of the relay closed its connection", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and first piece in one packet; flushed after every piece
    connection_upstream: Connection
    prefix: str

    def __getattr__(self, name: str) -> Any:
        """Pass on requests of every method."""
        if name.startswith("do_"):
            return self._pass
        raise AttributeError(name)

    def _pass(self) -> None:
        import urllib3

        try:
            response = self._asked()
        except (urllib3.exceptions.HTTPError, OSError, GenaiError) as error:
            self._refuse(502, f"The cluster's API does not pass this on: {type(error).__name__}.")
            return
        try:
            self._answer(response)
        except (urllib3.exceptions.HTTPError, OSError):
            # A part of the answer is sent already. The client sees a broken connection, as it would from the pod.
            self.close_connection = True
            response.close()
        else:
            response.release_conn()

    def _asked(self) -> Any:
        import urllib3

        client = self.connection_upstream.client()
        headers = [(k, v) for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP]
        secret: dict[str, str] = {}
        client.update_params_for_auth(secret, [], ["BearerToken"])
        # An idle connection that the API server closed is replaced. A request with a begun answer is not sent twice.
        retries = urllib3.Retry(connect=1, read=1, redirect=0, status=0, other=0, allowed_methods={"GET", "HEAD"})
        return client.rest_client.pool_manager.urlopen(
            self.command,
            client.configuration.host + self._path(),
            body=self._body(),
            headers=urllib3.HTTPHeaderDict([*headers, *secret.items(), *self._framing()]),
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=retries,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        )

    def _path(self) -> str:
        """Return the path at the API server. Links and redirects that it rewrote name the proxy's path already."""
        return self.path if self.path.startswith(f"{self.prefix}/") else self.prefix + self.path

    def _framing(self) -> list[tuple[str, str]]:
        length = self.headers.get("Content-Length")
        return [("Content-Length", length)] if length is not None else []

    def _body(self) -> Any:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = int(self.headers.get("Content-Length") or 0)
        return self._pieces(length) if length else None

    def _pieces(self, left: int) -> Iterator[bytes]:
        while left > 0 and (piece := self.rfile.read1(min(left, PIECE))):  # pyright: ignore[reportAttributeAccessIssue]
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            yield from self._pieces(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers are not passed on

    def _answer(self, response: Any) -> None:
        length = response.headers.get("Content-Length")
        bodiless = self.command == "HEAD" or response.status in (204, 304)
        self.send_response_only(response.status, response.reason)
        for name, value in response.headers.items():
            if name.lower() not in _FRAMING:
                self.send_header(name, value)
        chunked = length is None and not bodiless and self.request_version == "HTTP/1.1"
        if length is not None:
            self.send_header("Content-Length", length)
        elif chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not bodiless:
            self.close_connection = True
        self.end_headers()
        if not bodiless:
            self._send_body(response, chunked, length)
        self.wfile.flush()

    def _send_body(self, response: Any, chunked: bool, length: str | None) -> None:
        passed = 0
        while piece := response.read1(PIECE):
            passed += len(piece)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self.wfile.flush()
        if length is not None and passed != int(length):
            raise ConnectionError("the answer ended early")
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.close_connection = True  # the request's body may be unread
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass
