"""Runs inside an engine's pod as vLLM's `--middleware`: gives up kept connections before the pod is stopped.

A Service's selector moves new connections only, and a stopping vLLM closes kept ones whether or not the next
request is already on its way. Only an answer with `Connection: close` ends a kept connection without a lost request.
Source: RFC 9112, "Connection Management", 9.6.

    GET /drain                  answers close their connection from now on, for a minute, or longer if asked again
    GET /drain?least=5&most=35  the same for good; answered once nothing is left that a stop could cut off (preStop)

It needs the standard library only: the engine's image does not hold this package. An annotation brings this file.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PATH = "/drain"
NOT_WAITED_FOR = frozenset(
    {PATH, "/health", "/metrics", "/ping", "/-/healthz", "/genai/compile-cache", "/genai/restored"}
)
LEASE_S = 60.0
"""A drain ends by itself unless it is asked for again: the pod may get its traffic back."""
MARGIN_S = 0.25
POLL_S = 0.05


class Leaving:
    """ASGI middleware. Counts what runs, and once asked to drain closes every connection with its next answer."""

    def __init__(self, app: App, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = clock
        self._kept_for_s = float(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5")) + MARGIN_S
        self._running: dict[int, tuple[float, str]] = {}
        self._leaving_until = 0.0
        self._kept_until = 0.0
        """When the server's own time-out has closed the last connection that an answer left open."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == PATH:
            await self._drain(scope, send)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        counted = scope["path"] not in NOT_WAITED_FOR
        if counted:
            self._running[id(scope)] = (self._clock(), _name(scope))
        closes = False

        async def send_on(message: Message) -> None:
            nonlocal closes
            if message["type"] == "http.response.start" and self._is_leaving:
                closes = True
                message = {**message, "headers": _closing(message.get("headers", ()))}
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            if counted:
                del self._running[id(scope)]
            if counted and not closes:
                self._kept_until = self._clock() + self._kept_for_s

    @property
    def _is_leaving(self) -> bool:
        return self._clock() < self._leaving_until

    @property
    def _drained(self) -> bool:
        return not self._running and self._clock() >= self._kept_until

    async def _drain(self, scope: MutableMapping[str, Any], send: Send) -> None:
        asked = parse_qs(scope.get("query_string", b"").decode())
        now = self._clock()
        if "most" in asked:
            self._leaving_until = float("inf")
            least, most = now + float(asked["least"][0]), now + float(asked["most"][0])
            while self._clock() < least or (not self._drained and self._clock() < most):
                await asyncio.sleep(POLL_S)
        else:
            self._leaving_until = max(self._leaving_until, now + LEASE_S)
        now = self._clock()
        running = [{"request": name, "seconds": round(now - since, 1)} for since, name in self._running.values()]
        said = {"pod": socket.gethostname(), "drained": self._drained, "running": running}
        body = json.dumps(said).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": _closing(headers)})
        await send({"type": "http.response.body", "body": body})


def _name(scope: MutableMapping[str, Any]) -> str:
    """Path, and the client's own word for the request where it gave one: never what was asked."""
    given = dict(scope.get("headers", ())).get(b"x-request-id", b"").decode("latin-1")
    return f"{scope['path']} {given}".strip()


def _closing(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(k, v) for k, v in headers if k.lower() != b"connection"] + [(b"connection", b"close")]
