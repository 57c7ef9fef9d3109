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
from collections.abc import Callable
from typing import Any

import uvicorn

HEADERS = {"json": [(b"content-type", b"application/json")], "sse": [(b"content-type", b"text/event-stream")]}
STOPPING = {"error": {"message": "EngineCore is shutting down.", "type": "ServiceUnavailable", "code": 503}}


class AsgiEngine:
    """What the tests of a switch ask of an engine. Args: engine: a FakeEngine, whose state and answers these are."""

    def __init__(self, engine: Any, answer: Callable[[dict[str, Any], Any], Any]) -> None:
        self._engine, self._answer = engine, answer
        self.stopping = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        engine = self._engine
        card = {"object": "model", "root": engine.root, "owned_by": "fake", "max_model_len": 2048}
        if scope["path"] == "/v1/chat/completions":
            await self._complete(json.loads(await body_of(receive)), send)
        elif scope["path"] == "/v1/models":
            await _reply(send, 200, {"object": "list", "data": [{"id": name} | card for name in engine.names]})
        elif scope["path"] == "/metrics":
            await _reply(send, 200, engine.metrics_text())
        else:
            await _reply(send, 200 if scope["path"] == "/health" else 404, "")

    async def _complete(self, body: dict[str, Any], send: Any) -> None:
        engine, counters = self._engine, self._engine.counters
        if self.stopping:
            await _reply(send, 503, STOPPING)
            return
        if body.get("model") not in engine.names:
            await _reply(send, 404, {"error": {"message": f"The model `{body.get('model')}` does not exist."}})
            return
        answer = self._answer(body, engine.faults)
        counters.running += 1
        try:
            frame = {"id": "chatcmpl-1", "created": 0, "model": body["model"], "system_fingerprint": engine.names[-1]}
            if body.get("stream"):
                await self._stream(frame, answer, send)
            else:
                message = {"role": "assistant", "content": answer.text or None, "tool_calls": answer.tool_calls}
                choice = {"index": 0, "message": message, "finish_reason": answer.reason}
                whole = {"object": "chat.completion", "choices": [choice], "usage": answer.usage}
                await _reply(send, 200, frame | whole)
            engine.finished(answer.prompt_tokens, answer.tokens, answer.reason)
        finally:
            counters.running -= 1

    async def _stream(self, frame: dict[str, Any], answer: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS["sse"]})
        for word in answer.text.split():
            event = frame | {"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]}
            await _part(send, f"data: {json.dumps(event)}\n\n", more=True)
            await asyncio.sleep(self._engine.faults.token_s)
        await _part(send, "data: [DONE]\n\n")


def serve(engine: Any, answer: Callable[[dict[str, Any], Any], Any], args: Any) -> None:
    """Until SIGTERM, and then as vLLM: refuse what is new, finish what runs in --shutdown-timeout, abort the rest."""
    app = AsgiEngine(engine, answer)
    module, _, name = args.middleware.rpartition(".")
    wrapped = getattr(importlib.import_module(module), name)(app)
    kept_s = int(os.environ.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", "5"))
    config = uvicorn.Config(
        wrapped, args.host, args.port, timeout_keep_alive=kept_s, lifespan="off", log_level="warning", access_log=False
    )
    asyncio.run(_run(_Server(config), app, args.shutdown_timeout))


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """SIGTERM is ours."""

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
    while app._engine.counters.running and time.monotonic() < end:
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
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    headers = [*HEADERS["json"], (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _part(send: Any, text: str, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": more})
