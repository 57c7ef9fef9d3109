"""Where HTTP/1.1 messages begin and end in a stream of bytes, and nothing more of HTTP. Pure.

The forwarder changes backends only between messages. What is not HTTP/1.1 (TLS, HTTP/2, after an upgrade)
is opaque: it is never at rest, so its connection never moves. Source: RFC 9112, section 6.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

HEAD_MAX = 64 * 1024
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"})


class _At(Enum):
    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    TRAILER = auto()
    UNTIL_CLOSE = auto()
    OPAQUE = auto()


class Exchange:
    """One connection's requests and the responses to them."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.answered = 0
        self._requests = _Requests(self)
        self._responses = _Responses(self)

    def feed_request(self, data: bytes) -> None:
        self._requests.feed(data)

    def feed_response(self, data: bytes) -> None:
        self._responses.feed(data)

    @property
    def at_rest(self) -> bool:
        """No request is under way, in either direction."""
        return not self.waiting and self._requests.between and self._responses.between

    @property
    def all_answered(self) -> bool:
        """Every response is complete, though a request may still be arriving."""
        return not self.waiting and self._responses.between

    @property
    def ends_at_close(self) -> bool:
        """The end of the stream is the proper end of the response, or nothing is known of it."""
        return self._responses.at in (_At.UNTIL_CLOSE, _At.OPAQUE)

    def become_opaque(self) -> None:
        self._requests.at = self._responses.at = _At.OPAQUE


class _Messages:
    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.at = _At.HEAD
        self._buffer = bytearray()
        self._left = 0

    @property
    def between(self) -> bool:
        return self.at is _At.HEAD and not self._buffer

    def feed(self, data: bytes) -> None:
        position, end = 0, len(data)
        while position < end:
            if self.at in (_At.OPAQUE, _At.UNTIL_CLOSE):
                return
            if self.at in (_At.BODY, _At.CHUNK):
                position += self._skip(end - position)
            else:
                position = self._read_until(data, position, b"\r\n\r\n" if self.at is _At.HEAD else b"\r\n")

    def _skip(self, available: int) -> int:
        step = min(self._left, available)
        self._left -= step
        if not self._left:
            self.at = _At.CHUNK_SIZE if self.at is _At.CHUNK else _At.HEAD
            if self.at is _At.HEAD:
                self._finished()
        return step

    def _read_until(self, data: bytes, position: int, mark: bytes) -> int:
        before = len(self._buffer)
        self._buffer += data[position:]
        found = self._buffer.find(mark, max(0, before - len(mark) + 1))
        if found < 0:
            if len(self._buffer) > HEAD_MAX:
                self.exchange.become_opaque()
            return len(data)
        line, self._buffer = bytes(self._buffer[:found]), bytearray()
        try:
            self._line(line)
        except ValueError:
            self.exchange.become_opaque()
        return position + found + len(mark) - before

    def _line(self, line: bytes) -> None:
        if self.at is _At.HEAD:
            self._head(line.lstrip(b"\r\n"))
        elif self.at is _At.CHUNK_SIZE:
            size = int(line.split(b";")[0], 16)
            self.at, self._left = (_At.CHUNK, size + 2) if size else (_At.TRAILER, 0)
        elif not line:
            self.at = _At.HEAD
            self._finished()

    def _body(self, headers: dict[bytes, bytes], without_length: _At) -> None:
        """What follows a head: RFC 9112, section 6.3."""
        if headers.get(b"transfer-encoding", b"").lower().endswith(b"chunked"):
            self.at = _At.CHUNK_SIZE
        elif b"content-length" in headers:
            self._left = int(headers[b"content-length"])
            self.at = _At.BODY if self._left else _At.HEAD
        else:
            self.at = without_length
        if self.at is _At.HEAD:
            self._finished()

    def _head(self, head: bytes) -> None:
        raise NotImplementedError

    def _finished(self) -> None:
        """A message ended."""


class _Requests(_Messages):
    def _head(self, head: bytes) -> None:
        first, headers = _parsed(head)
        method, _, version = first.split(b" ", 2)
        if method not in _METHODS or not version.startswith(b"HTTP/1."):
            raise ValueError(first)
        self.exchange.waiting.append(method)
        self._body(headers, without_length=_At.HEAD)


class _Responses(_Messages):
    def _head(self, head: bytes) -> None:
        first, headers = _parsed(head)
        version, status, *_ = first.split(b" ", 2)
        if not version.startswith(b"HTTP/1.") or not self.exchange.waiting:
            raise ValueError(first)
        code = int(status)
        if code == 101:
            raise ValueError("another protocol follows")
        if 100 <= code < 200:
            return
        method = self.exchange.waiting[0]
        if method == b"CONNECT" and code < 300:
            raise ValueError("a tunnel follows")
        if method == b"HEAD" or code in (204, 304):
            self.at = _At.HEAD
            self._finished()
            return
        self._body(headers, without_length=_At.UNTIL_CLOSE)

    def _finished(self) -> None:
        self.exchange.waiting.popleft()
        self.exchange.answered += 1


def _parsed(head: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    pairs = (line.split(b":", 1) for line in lines)
    return first, {name.strip().lower(): value.strip() for name, value in pairs}
