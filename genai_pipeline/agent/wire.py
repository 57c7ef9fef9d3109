"""The HTTP protocol: uvicorn's, which trusts its clients' pace.

It waits for ever for the rest of a request, keeps headers of any size and any number of requests that are sent ahead,
and holds an answer for ever that nobody reads. Here all of that ends, and whatever is answered before any application
sees a request is told in our JSON.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

REQUEST_S = 20.0
"""From the connection, or a request's first byte, to its last; body.py is less patient with what it reads."""
READER_S = 60.0
"""For an answer of which nothing more is taken."""
MAX_HEAD_BYTES = 64 * 1024
"""Of headers that come in several pieces; one piece is at most four times as much."""

MAX_AHEAD = 100
"""Requests that a connection may send ahead of their answers; uvicorn keeps as many in memory as come."""
OFFER = frozenset({b"upgrade", b"http2-settings"})
"""Headers of a request that offers another protocol, as Java's client and `curl --http2` offer HTTP/2."""


class AgentProtocol(HttpToolsProtocol):
    """One connection."""

    _arriving: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None
    _running: RequestResponseCycle | None = None
    _wrong = ""
    _in_head = _offered = False
    _begun = _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.parser = _PlainParser(self)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arriving, self._leaving = _over(self._arriving), _over(self._leaving)
        if self._running:  # uvicorn tells the newest one, which may still be waiting for its turn
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._expect_request()
        begun = self._begun
        super().data_received(data)
        if not self._in_head or self._begun != begun or self.transport.is_closing():
            return  # what a head begins in may hold the end of another request
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "headers_too_large", f"The headers are larger than {MAX_HEAD_BYTES} bytes. Send less.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._begun, self._head_bytes = True, self._begun + 1, 0
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._offered = self._get_upgrade() is not None
        if self._offered:
            return  # it comes again, without
        if len(self.pipeline) >= MAX_AHEAD:
            self._wrong = f"More than {MAX_AHEAD} requests came ahead of their answers."
            raise ValueError(self._wrong)  # the parser makes a 400 of it
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        if self._offered:
            return
        super().on_message_complete()
        self._arriving = _over(self._arriving)

    def head_without_offer(self) -> bytes:
        """The latest request's head as it had been without offering another protocol; empty where it did not."""
        if not self._offered:
            return b""
        kept = [(name, value) for name, value in self.headers if name not in OFFER]
        said = [(name, _without_offer(value) if name == b"connection" else value) for name, value in kept]
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url), *(b"%s: %s" % header for header in said)]
        return b"\r\n".join([*lines, b"", b""])

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._leaving = self.loop.call_later(READER_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._leaving = _over(self._leaving)
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "bad_request", f"{self._wrong or msg} Send plain HTTP/1.1 with a known method.")

    def _expect_request(self) -> None:
        if self._arriving is None:
            self._arriving = self.loop.call_later(REQUEST_S, self._too_slow)

    def _too_slow(self) -> None:
        self._arriving = None
        if self._running and not self._running.response_complete:  # it is being seen to, and what follows it waits
            self._expect_request()
        elif self._in_head:
            self._refuse(408, "request_too_slow", f"The request did not arrive within {REQUEST_S:g} s.")
        else:
            self.transport.close()

    def _refuse(self, status: int, code: str, message: str) -> None:
        told: dict[str, Any] = {"error": {"code": code, "message": message}}
        body = json.dumps(told).encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        if not self._answering():
            self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def _answering(self) -> bool:
        """Whether an answer has begun and not ended: then nothing may be put into its middle."""
        return bool(self._running and self._running.response_started and not self._running.response_complete)


class _PlainParser:
    """httptools' parser for who speaks nothing but HTTP/1.1, and may ignore offers (RFC 9110, section 7.8).

    What follows the head of a request with one, its body too, httptools takes for the other protocol's.
    """

    def __init__(self, protocol: AgentProtocol) -> None:
        self._protocol = protocol
        self._parser = self._fresh()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        """Raises: httptools.HttpParserError: it is no HTTP. HttpParserUpgrade: CONNECT."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            head = self._protocol.head_without_offer()
            if not head:
                raise
            self._parser = self._fresh()
            self.feed_data(head + data[offer.args[0] :])

    def _fresh(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._protocol)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return parser


def _without_offer(connection: bytes) -> bytes:
    return b", ".join(t for token in connection.split(b",") if (t := token.strip()).lower() not in OFFER)


def _over(timer: asyncio.TimerHandle | None) -> None:
    """End a timer, and be what stands for none."""
    if timer:
        timer.cancel()
