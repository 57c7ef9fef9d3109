"""What a hub or an S3 answers on a bad day: faults for `Proxy`, and how often they come."""

from __future__ import annotations

import gzip
import random
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle

from tests.fakes.exchange import Decide, Exchange, Fault, Forward, Reply

Which = Callable[[Exchange], bool]


# ---- which requests


def every(exchange: Exchange) -> bool:
    return True


def asks(method: str, path: str = "", **query: str) -> Which:
    """Requests of a method whose path matches and that have these query parameters (`""`: whatever the value)."""

    def matches(exchange: Exchange) -> bool:
        there = exchange.query
        return (
            exchange.method == method
            and re.search(path, exchange.path) is not None
            and all(name in there and value in ("", there[name]) for name, value in query.items())
        )

    return matches


def large(which: Which, size: int = 1024 * 1024) -> Which:
    """Those that ask for a range of at least `size` bytes."""

    def matches(exchange: Exchange) -> bool:
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.head.get("Range"))
        return span is not None and int(span[2]) - int(span[1]) + 1 >= size and which(exchange)

    return matches


# ---- how often


def times(count: int, fault: Fault, which: Which = every) -> Decide:
    """The first `count` such requests."""
    left = [count]
    lock = threading.Lock()

    def decide(exchange: Exchange) -> Fault | None:
        with lock:
            if not left[0] or not which(exchange):
                return None
            left[0] -= 1
            return fault

    return decide


def once(fault: Fault, which: Which = every) -> Decide:
    return times(1, fault, which)


def always(fault: Fault, which: Which = every) -> Decide:
    return lambda exchange: fault if which(exchange) else None


def share(part: float, seed: int = 0) -> Decide:
    """That share of all requests, each with the next of the failures that every client must live with."""
    generator = random.Random(seed)
    kinds = cycle([answer(503), truncated, answer(500), answer(429, {"Retry-After": "1"}), dropped, lost])
    lock = threading.Lock()

    def decide(exchange: Exchange) -> Fault | None:
        with lock:
            return next(kinds) if generator.random() < part else None

    return decide


# ---- answers in place of the server's, which does not see the request


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    """A Content-Length is added unless there is one."""
    given = {"Content-Length": str(len(body)), **(headers or {})}

    def fault(exchange: Exchange, forward: Forward) -> Reply:
        return Reply(status, tuple(given.items()), b"" if exchange.method == "HEAD" else body)

    return fault


def s3_error(status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> Fault:
    """Source: Amazon S3 API Reference, "REST error responses"."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return answer(status, {"Content-Type": "application/xml", **(headers or {})}, body.encode())


def redirect(to: str | Callable[[Exchange], str], status: int = 302) -> Fault:
    def fault(exchange: Exchange, forward: Forward) -> Reply:
        location = to if isinstance(to, str) else to(exchange)
        return Reply(status, (("Location", location), ("Content-Length", "0")))

    return fault


def dropped(exchange: Exchange, forward: Forward) -> Reply | None:
    """The connection breaks before the server has seen the request; the body of the request is not read."""
    return None


def silent(noticed: threading.Event, until: threading.Event, longest_s: float = 60) -> Fault:
    """No answer at all, and no end of the connection, before `until` is set."""

    def fault(exchange: Exchange, forward: Forward) -> Reply | None:
        noticed.set()
        until.wait(longest_s)
        return None

    return fault


# ---- the server has done it, and the client is not told


def lost(exchange: Exchange, forward: Forward) -> Reply | None:
    forward()
    return None


def done_but(other: Fault) -> Fault:
    """The server does what it is asked, and the client gets another answer."""

    def fault(exchange: Exchange, forward: Forward) -> Reply | None:
        forward()
        return other(exchange, forward)

    return fault


# ---- the server's own answer, spoilt


def spoilt(change: Callable[[Reply], Reply]) -> Fault:
    return lambda exchange, forward: change(forward())


truncated = spoilt(lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2], ending="close"))
"""Half of what the head promises, then the end of the connection."""

reset_midway = spoilt(lambda reply: replace(reply, body=reply.body[: len(reply.body) // 2], ending="reset"))

shorter = spoilt(
    lambda reply: replace(
        reply.with_header("Content-Length", str(len(reply.body) // 2)),
        body=reply.body[: len(reply.body) // 2],
        ending="close",
    )
)
"""A head that promises half, and half comes: nothing on the wire is wrong."""

longer = spoilt(
    lambda reply: replace(reply.with_header("Content-Length", str(2 * len(reply.body) + 7)), ending="close")
)
"""A head that promises more than comes."""

gzipped = spoilt(
    lambda reply: replace(
        reply.with_header("Content-Encoding", "gzip").with_header(
            "Content-Length", str(len(gzip.compress(reply.body, 1)))
        ),
        body=gzip.compress(reply.body, 1),
    )
)

emptied = spoilt(lambda reply: replace(reply.with_header("Content-Length", "0"), body=b""))

same_size_garbage = spoilt(
    lambda reply: replace(reply, body=bytes(b ^ 0x55 for b in reply.body[:64]) + reply.body[64:])
)

chunked_with_garbage = spoilt(
    lambda reply: replace(
        reply.without("Content-Length").with_header("Transfer-Encoding", "chunked"),
        body=b"%x\r\n%s\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad" % (len(reply.body), reply.body),
        ending="close",
    )
)
"""A whole body, and behind it what could be taken for the answer to the next request."""


def with_header(name: str, value: str) -> Fault:
    return spoilt(lambda reply: reply.with_header(name, value))


def without_header(*names: str) -> Fault:
    return spoilt(lambda reply: reply.without(*names))


def dripping(pieces: int, pause_s: float) -> Fault:
    """Slow-loris: the answer comes, but in small pieces with pauses."""
    return spoilt(lambda reply: replace(reply, pieces=pieces, pause_s=pause_s))
