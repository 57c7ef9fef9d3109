"""HTTP/1.1 as it is on the wire, as far as a proxy needs it. Source: RFC 9112, 2.1, 6 and 7.1."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LARGEST_HEAD = 64 * 1024
PIPE = 1024 * 1024
SPLICE = 1024 * 1024


class ConnectionEnded(OSError):
    """The other side went away in the middle of a message, or before one began."""


@dataclass
class Head:
    """First line and headers; names are compared without case."""

    first_line: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str, default: str = "") -> str:
        return next((value for known, value in self.headers if known.lower() == name.lower()), default)

    def without(self, *names: str) -> Head:
        unwanted = {name.lower() for name in names}
        return Head(self.first_line, [h for h in self.headers if h[0].lower() not in unwanted])

    def with_header(self, name: str, value: str) -> Head:
        head = self.without(name)
        head.headers.append((name, value))
        return head

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("Transfer-Encoding").lower()

    @property
    def length(self) -> int | None:
        value = self.get("Content-Length")
        return int(value) if value else None

    def to_bytes(self) -> bytes:
        lines = [self.first_line, *(f"{name}: {value}" for name, value in self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Wire:
    """One side of a connection: a socket, and what was read of it too early."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._early = b""

    def read_head(self) -> Head | None:
        """The next head, or None if the other side has nothing more to say."""
        while b"\r\n\r\n" not in self._early:
            more = self.socket.recv(65536)
            if not more:
                if self._early.strip():
                    raise ConnectionEnded("in the middle of a head")
                return None
            self._early += more
            if len(self._early) > LARGEST_HEAD and b"\r\n\r\n" not in self._early[: LARGEST_HEAD + 4]:
                raise ConnectionEnded("a head that does not end")
        raw, self._early = self._early.split(b"\r\n\r\n", 1)
        first, *lines = raw.decode("latin-1").lstrip("\r\n").split("\r\n")
        return Head(first, [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines)])

    def read(self, length: int) -> bytes:
        """Exactly `length` bytes."""
        body = bytearray(self._take(length))
        while len(body) < length:
            more = self.socket.recv(min(SPLICE, length - len(body)))
            if not more:
                raise ConnectionEnded("in the middle of a body")
            body += more
        return bytes(body)

    def read_chunked(self) -> bytes:
        """A chunked body without its chunks."""
        body = bytearray()
        while size := int(self._line().split(b";")[0], 16):
            body += self.read(size)
            self._line()
        while self._line():
            pass  # trailers
        return bytes(body)

    def read_all(self) -> bytes:
        """Until the other side closes."""
        body = bytearray(self._take(len(self._early)))
        while more := self.socket.recv(SPLICE):
            body += more
        return bytes(body)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def pass_on(self, to: Wire, length: int, count: Callable[[int], None]) -> None:
        """Hand `length` bytes to the other side; by the kernel, without a copy in this process."""
        early = self._take(length)
        if early:
            to.send(early)
            count(len(early))
        left = length - len(early)
        if not left:
            return
        with _pipe() as (outlet, inlet):
            while left:
                held = os.splice(self.socket.fileno(), inlet, min(SPLICE, left))
                if not held:
                    raise ConnectionEnded("in the middle of a body")
                left -= held
                count(held)
                while held:
                    held -= os.splice(outlet, to.socket.fileno(), held)

    def reset(self) -> None:
        """Break the connection as a cable does (RST), not as a server that has finished (FIN)."""
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def _line(self) -> bytes:
        while b"\r\n" not in self._early:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionEnded("in the middle of a chunk")
            self._early += more
        line, self._early = self._early.split(b"\r\n", 1)
        return line

    def _take(self, length: int) -> bytes:
        taken, self._early = self._early[:length], self._early[length:]
        return taken


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    outlet, inlet = os.pipe()
    try:
        with suppress(OSError):  # as large as this user may have it
            fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, PIPE)
        yield outlet, inlet
    finally:
        os.close(outlet)
        os.close(inlet)
