"""A proxy that stands in front of a hub or an S3 and misbehaves. Loopback only; counts what the server was sent.

In a test, within the process, each request asked of `fault` (see bad_replies.py for a catalogue):

    with Proxy(server.endpoint, fault=once(answer(503))) as proxy:
        store = S3Store("bucket", S3Settings(proxy.url))
    proxy.exchanges   # what went through: method, path, part, bytes each way, status

In a benchmark, as a process of its own, which takes no time of the interpreter that is measured:

    with ProxyProcess(server.endpoint, latency_s=0.08, failing=0.01) as proxy:   # proxy_process.py
        HuggingFaceHub(proxy.url, …)

Bodies go from socket to socket within the kernel, signatures hold (the Host header is passed on as it came), and
redirects that lead to the server lead to the proxy.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.fakes.exchange import Decide, Exchange, Fault, Reply, no_fault
from tests.fakes.http_wire import ConnectionEnded, Head, Wire

IDLE_S = 120
MOST_CONNECTIONS = 512
BODILESS = (204, 304)


@dataclass
class Proxy:
    """Use as a context manager; leaving it ends its threads and connections.

    Args:
        upstream: `http://host:port` of the server.
        fault: asked for each request; may be replaced while requests go on.
    """

    upstream: str
    latency_s: float = 0.0
    fault: Decide = no_fault
    exchanges: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        address = urlsplit(self.upstream)
        self._to = (address.hostname or "127.0.0.1", address.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=MOST_CONNECTIONS)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._over = threading.Event()

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        conversation = _Conversation(self, Wire(self._prepared(connection)))
        try:
            while not self._over.is_set() and conversation.one():
                pass
        except (OSError, ValueError):
            pass  # either side went away: the other one is told by the end of its connection
        finally:
            for wire in (conversation.client, conversation.server):
                if wire:
                    self._open.discard(wire.socket)
                    wire.socket.close()

    def connect(self) -> Wire:
        return Wire(self._prepared(socket.create_connection(self._to, timeout=10)))

    def _prepared(self, connection: socket.socket) -> socket.socket:
        connection.settimeout(None)  # splice wants a blocking socket; the kernel keeps the time instead
        bound = IDLE_S.to_bytes(8, sys.byteorder) + bytes(8)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        return connection

    def wait(self, seconds: float) -> None:
        """Sleep, unless the proxy is over."""
        self._over.wait(seconds)


class _Conversation:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: Wire) -> None:
        self.client = client
        self.server: Wire | None = None
        self._proxy = proxy

    def one(self) -> bool:
        """Pass one request on and its answer back; False when the connection is over."""
        head = self.client.read_head()
        if head is None:
            return False
        method, target, *_ = head.first_line.split(" ")
        exchange = Exchange(method, target, head)
        self._proxy.exchanges.append(exchange)
        if self._proxy.latency_s:
            self._proxy.wait(self._proxy.latency_s)
        try:
            fault = self._proxy.fault(exchange)
            if fault is None:
                return self._pass(exchange)
            exchange.faulty = True
            return self._spoil(exchange, fault)
        finally:
            exchange.over = True

    def _pass(self, exchange: Exchange) -> bool:
        server = self._send_request(exchange)
        head = self._answer_head(server)
        status = int(head.first_line.split(" ")[1])
        length = 0 if exchange.method == "HEAD" or status in BODILESS else head.length
        if head.chunked or length is None:
            reply = self._whole(exchange, server, head)
            self.client.send(_head_of(reply) + reply.body)
        else:
            self.client.send(self._led_back(head).to_bytes())
            server.pass_on(self.client, length, lambda n: _add(exchange, "received", n))
        exchange.status = status
        return self._kept(exchange, head, ends=length is not None or head.chunked)

    def _spoil(self, exchange: Exchange, fault: Fault) -> bool:
        asked: list[Head] = []

        def forward() -> Reply:
            server = self._send_request(exchange)
            asked.append(self._answer_head(server))
            reply = self._whole(exchange, server, asked[0])
            exchange.status = reply.status
            return reply

        reply = fault(exchange, forward)
        if reply is None:
            self.client.reset()
            return False
        unread = not asked and (exchange.head.chunked or bool(exchange.head.length))
        if unread and exchange.head.get("Expect").lower() != "100-continue":
            self._read_body(exchange.head)
            unread = False
        if unread:
            reply = reply.with_header("Connection", "close")  # a client may send the body nevertheless
        self._send(reply)
        return reply.ending == "keep" and not unread and "close" not in exchange.head.get("Connection").lower()

    def _send(self, reply: Reply) -> None:
        head = _head_of(reply)
        if reply.pieces == 1:
            self.client.send(head + reply.body)
        else:
            self.client.send(head)
            size = max(1, -(-len(reply.body) // reply.pieces))
            for start in range(0, len(reply.body), size):
                self._proxy.wait(reply.pause_s)
                self.client.send(reply.body[start : start + size])
        if reply.ending == "reset":
            self._proxy.wait(0.02)  # a reset overtakes what was sent, which the client shall see
            self.client.reset()

    def _send_request(self, exchange: Exchange) -> Wire:
        head = exchange.head
        if head.get("Expect").lower() == "100-continue":
            self.client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        onward = head.without("Expect", "Connection")
        chunked = self.client.read_chunked() if head.chunked else None
        if chunked is not None:
            onward = onward.without("Transfer-Encoding").with_header("Content-Length", str(len(chunked)))
        server = self._connected()
        server.send(onward.to_bytes())
        if chunked is not None:
            server.send(chunked)
            _add(exchange, "sent", len(chunked))
        elif head.length:
            self.client.pass_on(server, head.length, lambda n: _add(exchange, "sent", n))
        return server

    def _read_body(self, head: Head) -> bytes:
        return self.client.read_chunked() if head.chunked else self.client.read(head.length or 0)

    def _connected(self) -> Wire:
        if self.server is None:
            self.server = self._proxy.connect()
        return self.server

    def _answer_head(self, server: Wire) -> Head:
        while (head := server.read_head()) is not None:
            if not head.first_line.split(" ")[1].startswith("1"):
                return head
        raise ConnectionEnded("the server closed its connection")

    def _whole(self, exchange: Exchange, server: Wire, head: Head) -> Reply:
        """The server's answer with its body in memory, and with its true length."""
        status = int(head.first_line.split(" ")[1])
        headers = self._led_back(head).headers
        if exchange.method == "HEAD" or status in BODILESS:
            return Reply(status, tuple(headers))
        if head.chunked:
            body = server.read_chunked()
        else:
            body = server.read_all() if head.length is None else server.read(head.length)
        _add(exchange, "received", len(body))
        plain = Head("", headers).without("Transfer-Encoding").with_header("Content-Length", str(len(body)))
        return Reply(status, tuple(plain.headers), body)

    def _led_back(self, head: Head) -> Head:
        location = head.get("Location")
        if location.startswith(self._proxy.upstream):
            return head.with_header("Location", self._proxy.url + location.removeprefix(self._proxy.upstream))
        return head

    def _kept(self, exchange: Exchange, answer: Head, ends: bool) -> bool:
        """Whether both sides may go on; an answer without a length ends with its connection."""
        closed = [head.get("Connection").lower() == "close" for head in (answer, exchange.head)]
        return ends and not any(closed)


def _head_of(reply: Reply) -> bytes:
    return Head(f"HTTP/1.1 {reply.status} As Is", list(reply.headers)).to_bytes()


def _add(exchange: Exchange, name: str, count: int) -> None:
    setattr(exchange, name, getattr(exchange, name) + count)
