"""Runs inside an engine's pod as vLLM's `--middleware` where `serving.standby` is `sleep`: the door of that engine.

vLLM sleeps only in its development mode, which opens paths by which any client reads and changes the engine. So only
paths of ORDINARY pass, and new paths of a later vLLM stay closed. These are the pipeline's, by its token. For all
others they do not exist:

    POST /sleep?level=1   turns users away from now on, and puts the weights into the host's memory
    POST /wake_up         puts them back; users are still turned away, and the pipeline's own requests pass
    POST /genai/open      lets users in again, after the pipeline has had a known answer
    GET  /is_sleeping     whether users are turned away

vLLM itself keeps a request that arrives while it sleeps, without an answer. Level 2 drops the weights, and the engine
then answered 200 with wrong text: so it is refused. `/genai/ready` is for the readiness probe: 503 while users are
turned away. `/health`, for the liveness probe, goes on.

Source: vLLM 0.32, vllm/entrypoints/launchers/api_server/routers.py and vllm/entrypoints/serve/dev/.
It needs the standard library only: the engine's image does not hold this package. An annotation brings this file.
"""

from __future__ import annotations

import hmac
import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER = b"x-genai-pipeline-token"
TOKEN_VARIABLE = "GENAI_PIPELINE_TOKEN"
SLEEP, WAKE_UP, OPEN, IS_SLEEPING = "/sleep", "/wake_up", "/genai/open", "/is_sleeping"
READY, HEALTH = "/genai/ready", "/health"
METHODS = {SLEEP: "POST", WAKE_UP: "POST", OPEN: "POST", IS_SLEEPING: "GET"}
"""The pipeline's own paths, and the method of each."""
ONLY_LEVEL = b"level=1"
RETRY_AFTER_S = 5

ALWAYS = frozenset({HEALTH, "/metrics", "/metrics/", "/version", "/load", "/drain"})
"""Answered while the engine sleeps, too: none of them needs the model."""

OF_THE_PIPELINE = frozenset({"/genai/compile-cache", "/genai/restored"})
"""The drain middleware, which comes after this one, asks for the token itself."""

ORDINARY = ALWAYS | OF_THE_PIPELINE | frozenset(
    {
        "/ping",
        "/invocations",
        "/tokenize",
        "/detokenize",
        "/tokenizer_info",
        "/generative_scoring",
        "/inference/v1/generate",
        "/v1/models",
        "/v1/completions",
        "/v1/completions/render",
        "/v1/completions/derender",
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/chat/completions/render",
        "/v1/chat/completions/derender",
        "/v1/responses",
        "/v1/responses/render",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/messages/render",
        "/v1/systemone",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/realtime",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
    }
)  # fmt: skip
"""Paths of clients. What controls the engine is left out also where vLLM opens it without the development mode."""
_RESPONSE = re.compile(r"/v1/responses/[^/]+(/cancel)?")


class Sleeping:
    """ASGI middleware. Knows whether users are turned away, and lets nothing but known paths through."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._token = os.environ.get(TOKEN_VARIABLE, "")
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        path = _route(scope)
        known = self._knows(scope)
        if path in METHODS:
            await self._control(path, known, scope, receive, send)
        elif path == READY:
            await self._ready(scope, receive, send)
        elif not is_ordinary(path):
            await _refuse(scope, send, 404, "Not Found")
        elif self._closed and not known and path not in ALWAYS:
            await _refuse(scope, send, 503, "This release is a standby and sleeps.", retry=True)
        else:
            await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = dict(scope.get("headers", ())).get(TOKEN_HEADER, b"")
        return bool(self._token) and hmac.compare_digest(given, self._token.encode())

    async def _control(self, path: str, known: bool, scope: Scope, receive: Receive, send: Send) -> None:
        if not known or scope["type"] != "http" or scope["method"] != METHODS[path]:
            await _refuse(scope, send, 404, "Not Found")
            return
        asked = scope.get("query_string", b"")
        if path == IS_SLEEPING:
            await _reply(send, 200, {"is_sleeping": self._closed})
        elif path == OPEN:
            self._closed = False
            await _reply(send, 200, {"is_sleeping": False})
        elif asked != (ONLY_LEVEL if path == SLEEP else b""):
            what = "Only level 1 keeps the weights, whole: send level=1." if path == SLEEP else "Send no parameters."
            await _reply(send, 400, {"error": {"message": what, "code": 400}})
        else:
            self._closed = True  # also while it wakes: only a known answer opens the door
            await self._app(scope, receive, send)

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._closed:
            await _refuse(scope, send, 503, "This release is a standby and sleeps.")
        else:
            await self._app({**scope, "path": HEALTH, "raw_path": HEALTH.encode()}, receive, send)


def is_ordinary(path: str) -> bool:
    """Return whether clients may ask for a path."""
    return path in ORDINARY or _RESPONSE.fullmatch(path) is not None


def _route(scope: Scope) -> str:
    """Return the path by which Starlette finds the route: without the path of the server's root."""
    path, root = scope["path"], scope.get("root_path", "")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


async def _refuse(scope: Scope, send: Send, status: int, why: str, retry: bool = False) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013 if retry else 1000})
        return
    content = {"detail": why} if status == 404 else {"error": {"message": why, "code": status}}
    # Kept connections end with this answer: the next one leads to a release that does not sleep.
    again = [(b"retry-after", b"%d" % RETRY_AFTER_S), (b"connection", b"close")] if retry else []
    await _reply(send, status, content, again)


async def _reply(send: Send, status: int, content: Any, more: list[tuple[bytes, bytes]] | None = None) -> None:
    body = json.dumps(content, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
