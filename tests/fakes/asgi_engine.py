"""The fake engine on the server that vLLM has: uvicorn, its keep-alive time-out, and `--middleware`.

How connections end is what a switch is about, so that they end here as they do there: by uvicorn. Used by
`openai_server.py` when it is given a middleware.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import time
from typing import Any

import uvicorn

STOPPING = {"error": {"message": "EngineCore is shutting down.", "type": "ServiceUnavailable", "code": 503}}


class AsgiEngine:
    """Passes each request on to a FakeEngine on a port of its own, whose answers and faults these are."""

    def __init__(self, engine: Any) -> None:
        host, _, port = engine.url.removeprefix("http://").partition(":")
        self._behind = host, int(port)
        self._endpoints = engine.endpoints
        self.running = 0
        self.stopping = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await body_of(receive)
        if self.stopping and scope["path"] in self._endpoints:
            await _reply(send, 503, STOPPING)
            return
        self.running += 1
        reader, writer = await asyncio.open_connection(*self._behind)
        try:
            head = f"{scope['method']} {scope['path']} HTTP/1.1\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await _pass_on(reader, send)
        finally:
            writer.close()
            self.running -= 1


async def _pass_on(reader: asyncio.StreamReader, send: Any) -> None:
    """The answer as it comes. Raises IncompleteReadError where the engine drops it: uvicorn then closes too."""
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines[1:]) if name]
    told = dict(headers)
    kept = [(name, value) for name, value in headers if name != b"transfer-encoding"]
    await send({"type": "http.response.start", "status": int(lines[0].split()[1]), "headers": kept})
    if b"transfer-encoding" not in told:
        await _part(send, await reader.readexactly(int(told[b"content-length"])), more=False)
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await _part(send, (await reader.readexactly(size + 2))[:-2], more=True)
    await _part(send, b"", more=False)


def serve(engine: Any, args: Any) -> None:
    """Until SIGTERM, and then as vLLM: refuse what is new, finish what runs in --shutdown-timeout, abort the rest."""
    app: Any = AsgiEngine(engine)
    wrapped = app
    for middleware in args.middleware:  # the last one is the outermost
        module, _, name = middleware.rpartition(".")
        wrapped = getattr(importlib.import_module(module), name)(wrapped)
    kept_s = int(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5"))
    config = uvicorn.Config(
        wrapped, args.host, args.port, timeout_keep_alive=kept_s, lifespan="off", log_level="warning", access_log=False
    )
    asyncio.run(_run(_Server(config), app, args.shutdown_timeout))


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()


async def _run(server: uvicorn.Server, app: AsgiEngine, shutdown_timeout_s: float) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    serving = asyncio.create_task(server.serve())
    await told.wait()
    app.stopping = True
    end = time.monotonic() + shutdown_timeout_s
    while app.running and time.monotonic() < end:
        await asyncio.sleep(0.02)
    server.should_exit = server.force_exit = True
    await asyncio.wait({serving}, timeout=0.5)
    os._exit(0)


async def body_of(receive: Any) -> bytes:
    """The whole body of a request, in however many messages it comes."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def _reply(send: Any, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _part(send: Any, data: bytes, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
