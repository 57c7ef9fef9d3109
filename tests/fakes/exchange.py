"""A request and its answer on their way through a proxy, and what a fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.http_wire import Head


@dataclass(frozen=True)
class Reply:
    """An answer as it is sent. A head that lies about the body's length is sent as it is.

    Args:
        pieces: the body is sent in so many pieces, `pause_s` apart.
        ending: keep the connection, close it, or reset it.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    pieces: int = 1
    pause_s: float = 0.0
    ending: str = "keep"

    def header(self, name: str) -> str:
        return Head("", list(self.headers)).get(name)

    def with_header(self, name: str, value: str) -> Reply:
        return replace(self, headers=tuple(Head("", list(self.headers)).with_header(name, value).headers))

    def without(self, *names: str) -> Reply:
        return replace(self, headers=tuple(Head("", list(self.headers)).without(*names).headers))


@dataclass
class Exchange:
    """One request and what became of it; `sent` and `received` are body bytes as the server saw and gave them."""

    method: str
    target: str
    head: Head
    sent: int = 0
    received: int = 0
    status: int = 0
    """Of the server's own answer; 0 if it was not asked or did not end its answer."""
    faulty: bool = False
    over: bool = False
    """Nothing more comes of it."""

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}

    @property
    def part(self) -> int | None:
        number = self.query.get("partNumber")
        return int(number) if number else None


Forward = Callable[[], Reply]
Fault = Callable[[Exchange, Forward], Reply | None]
"""Gets a request and the way to the server, returns what the client sees; None resets the connection.

A fault that does not go that way keeps the server from seeing the request.
"""
Decide = Callable[[Exchange], Fault | None]


def no_fault(exchange: Exchange) -> Fault | None:
    return None
