"""vLLM's sleep mode for the fake engine: `--middleware=sleeping_engine.SleepMode`, before all others.

As in vLLM 0.32, the paths are there with VLLM_SERVER_DEV_MODE=1 only, and a request that arrives while the engine
sleeps gets no answer until it wakes. `FAKE_SLEEP` names what goes wrong: `wrong` (other words once it has slept),
`fails` (500), `hangs`, `silent` (no body, as vLLM 0.26). A file of that name in the working folder does the same later.
Needs the standard library only.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

DEV_PATHS = {"/sleep": "POST", "/wake_up": "POST", "/is_sleeping": "GET", "/collective_rpc": "POST"}


class SleepMode:
    def __init__(self, app: Any) -> None:
        self._app = app
        self._awake = asyncio.Event()
        self._awake.set()
        self._slept = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, dev_mode = scope.get("path", ""), os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
        if path.startswith("/v1/") and path != "/v1/models":
            await self._awake.wait()
            if self._slept and _goes_wrong("wrong"):
                await _reply(send, 200, {"model": "m", "choices": [{"text": "wrong text", "finish_reason": "length"}]})
                return
        if not dev_mode or DEV_PATHS.get(path) != scope.get("method"):
            await self._app(scope, receive, send)
            return
        if _goes_wrong("hangs"):
            await asyncio.Event().wait()
        if _goes_wrong("fails"):
            await _reply(send, 500, {"error": "CUDA error"})
        elif path == "/is_sleeping":
            await _reply(send, 200, {"is_sleeping": not self._awake.is_set()})
        elif path == "/wake_up":
            self._awake.set()
            await _reply(send, 200, {"status": "awake", "tags": None})
        else:
            self._slept = True
            self._awake.clear()
            level = int(parse_qs(scope["query_string"].decode()).get("level", ["1"])[0])
            await _reply(send, 200, {"status": "sleeping", "level": level})


def _goes_wrong(what: str) -> bool:
    return os.environ.get("FAKE_SLEEP") == what or Path(f"sleep-{what}").exists()


async def _reply(send: Any, status: int, content: Any) -> None:
    body = b"" if _goes_wrong("silent") and status == 200 and "status" in content else json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
