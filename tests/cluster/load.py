"""Clients of a model as fast as a test wants them: new connections, kept ones, and streams, none of them retrying.

    python -m tests.cluster.load http://10.96.0.7:8000 MODEL --rate 200

Runs until its standard input ends. Every line that it reads there is answered with one line of JSON: what ended since
the line before. A kept connection that the server closed while it was at rest is replaced, as every pool of
connections does; a request whose connection ends before its answer does is a failed one. In a test: `Load`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SHARES = {"new connection": 0.45, "keep-alive": 0.45, "stream": 0.1}
PACE_S = 0.1
"""Of one client, from request to request; a rate is reached with as many clients as it takes."""
AT_REST_S = 1.0
"""A kept connection that rested longer is replaced, as good clients do: servers close theirs sooner or later."""
DEADLINE_S = 20.0
WORDS = 8


@dataclass
class Seen:
    """What ended: per kind of client, per release that answered, and why requests failed."""

    sent: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    releases: Counter[str] = field(default_factory=Counter)
    first_at: dict[str, float] = field(default_factory=dict)
    last_at: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str, release: str, cause: str) -> None:
        self.sent[kind] += 1
        if cause:
            self.failed[kind] += 1
            self.causes[f"{kind}: {cause}"] += 1
            return
        self.releases[release] += 1
        self.last_at[release] = time.time()
        self.first_at.setdefault(release, self.last_at[release])


class Broken(Exception):
    """An answer that is none, or only half of one."""


class Client:
    """One client: connects when it has to. Args: keeps: whether it keeps its connection for the next request."""

    def __init__(self, url: str, model: str, streams: bool, keeps: bool) -> None:
        at = urlsplit(url)
        self._host, self._port, self._streams, self._keeps = at.hostname, at.port, streams, keeps
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": WORDS}
        sent = json.dumps(body | {"stream": streams}).encode()
        rest = "" if keeps else "Connection: close\r\n"
        form = f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {at.netloc}\r\n{form}{rest}\r\n"
        self._request = head.encode() + sent
        self._used = 0.0
        self._reader: Any = None
        self._writer: Any = None

    async def ask(self) -> str:
        """One request; returns the release that answered. Raises Broken, OSError, TimeoutError."""
        rested = time.monotonic() - self._used > AT_REST_S
        if self._writer is None or self._reader.at_eof() or self._writer.is_closing() or rested:
            self.close()
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        try:
            self._writer.write(self._request)
            release = await self._answer()
            self._used = time.monotonic()
            return release
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _answer(self) -> str:
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            body = await (self._chunks() if b"chunked" in head else self._reader.readexactly(_length(head)))
        except asyncio.IncompleteReadError as error:
            raise Broken("ended in the middle" if error.partial else "closed without an answer") from error
        if not head.startswith(b"http/1.1 200"):
            raise Broken(f"{head[9:12].decode()}: {body[:120].decode('utf-8', 'replace')}")
        if self._streams and not body.rstrip().endswith(b"data: [DONE]"):
            raise Broken("a stream without its end")
        if b"connection: close" in head or not self._keeps:
            self.close()
        event = body.split(b"\n", 1)[0].removeprefix(b"data: ") if self._streams else body
        return str(json.loads(event).get("system_fingerprint"))

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body


def _length(head: bytes) -> int:
    return int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])


async def go_on(client: Client, kind: str, late_s: float, seen: Callable[[], Seen]) -> None:
    """Ask for ever, a request every PACE_S as long as the answers are as quick."""
    due = time.monotonic() + late_s
    while True:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due = max(due + PACE_S, time.monotonic())
        release = cause = ""
        try:
            release = await asyncio.wait_for(client.ask(), DEADLINE_S)
        except (Broken, OSError, ValueError, TimeoutError) as error:
            cause = str(error) or type(error).__name__
        seen().note(kind, release, cause)


def clients(url: str, model: str, rate: float) -> list[tuple[Client, str]]:
    """As many of each kind as the rate takes; every second stream is asked for on a kept connection."""
    made: list[tuple[Client, str]] = []
    for kind, share in SHARES.items():
        for number in range(max(1, round(rate * share * PACE_S * (5 if kind == "stream" else 1)))):
            streams = kind == "stream"
            keeps = kind == "keep-alive" or (streams and number % 2 == 1)
            made.append((Client(url, model, streams, keeps), kind))
    return made


async def serve(args: argparse.Namespace, lines: Callable[[], Awaitable[bytes]]) -> None:
    seen = Seen()
    everyone = clients(args.url, args.model, args.rate)
    tasks = [
        asyncio.create_task(go_on(client, kind, PACE_S * number / len(everyone), lambda: seen))
        for number, (client, kind) in enumerate(everyone)
    ]
    while await lines():
        told, seen = seen, Seen()
        print(json.dumps(vars(told)), flush=True)  # noqa: T201
    for task in tasks:
        task.cancel()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--rate", type=float, default=200)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await serve(parser.parse_args(), reader.readline)


class Load:
    """The clients as a process of their own, so that no test slows them down. Use as a context manager."""

    def __init__(self, url: str, model: str, rate: float) -> None:
        command = [sys.executable, "-m", "tests.cluster.load", url, model, "--rate", str(rate)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._kept = Seen()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(10)

    def look(self) -> Seen:
        """What ended since the last `take`."""
        self._process.stdin.write("\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        told = json.loads(self._process.stdout.readline())  # type: ignore[union-attr]
        kept = self._kept
        for name in ("sent", "failed", "causes", "releases"):
            getattr(kept, name).update(told[name])
        kept.first_at = told["first_at"] | kept.first_at
        kept.last_at |= told["last_at"]
        return kept

    def forget_times(self) -> None:
        """From now on `first_at` means: since now."""
        self._kept.first_at, self._kept.last_at = {}, {}

    def take(self) -> Seen:
        """What ended since the last `take`, which the next one leaves out."""
        seen = self.look()
        self._kept = Seen()
        return seen


if __name__ == "__main__":
    asyncio.run(main())
