"""Makes the demo's engine misbehave on request. vLLM's `--middleware`; models/weather.yaml names it.

`genai break weather --with errors` writes a file, `genai mend weather` removes it, and this looks for it:
`<GENAI_HOME>/faults/<model>@<release>`, with the name of a fault in it. It is about one release, so that the one that
has the traffic afterwards is as well as it was. No engine of yours needs this, and without the file it does nothing.

An error is the engine's own answer, so that the engine counts it in `http_requests_total` as it counts any other.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

DELAY_S = 8.0
ERROR = "The demo's fault switch is on."


class FaultSwitch:
    """ASGI middleware around completions: errors, latency, wrong (no tool is ever called) or crash."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._file = switch_of(sys.argv, os.environ)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        completes = scope["type"] == "http" and scope["path"].endswith("/completions")
        fault = _read(self._file) if completes else ""
        if fault == "crash":
            os._exit(1)
        if fault == "latency":
            await asyncio.sleep(DELAY_S)
        received = {"errors": _failing, "wrong": _without_tools}.get(fault)
        await self._app(scope, received(receive) if received else receive, send)


def switch_of(argv: list[str], env: MutableMapping[str, str] | os._Environ[str]) -> Path | None:
    """The file of the release that this engine serves: its second name, and the state folder it was started from."""
    home = env.get("GENAI_SUPERVISED_BY")
    names = [word for word in argv if "@" in word and "/" not in word]
    return Path(home) / "faults" / names[0] if home and names else None


def _read(file: Path | None) -> str:
    try:
        return file.read_text().strip() if file else ""
    except OSError:
        return ""


def _failing(receive: Receive) -> Receive:
    """Let the engine's server fail where it reads the request. An answer given here would pass its counters by.

    FastAPI raises what a middleware raises there. Source: `fastapi/routing.py`, `get_request_handler`.
    """

    async def receive_nothing() -> Message:
        from fastapi import HTTPException  # vLLM has it; without a fault nothing is imported

        raise HTTPException(500, ERROR)

    return receive_nothing


def _without_tools(receive: Receive) -> Receive:
    """Remove the tools from the request, so that the model invents its answers."""
    gathered: list[bytes] = []

    async def receive_less() -> Message:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            gathered.append(message.get("body", b""))
            if not message.get("more_body"):
                return {"type": "http.request", "body": _less(b"".join(gathered)), "more_body": False}

    return receive_less


def _less(body: bytes) -> bytes:
    try:
        asked = json.loads(body)
        return json.dumps({k: v for k, v in asked.items() if k not in ("tools", "tool_choice")}).encode()
    except (ValueError, AttributeError):
        return body
