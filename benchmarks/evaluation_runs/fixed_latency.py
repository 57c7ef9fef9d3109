"""An agent and a model endpoint that answer after a fixed time, in one process of their own.

    python -m benchmarks.evaluation_runs.fixed_latency --latency-ms 250

POST /agent answers as an agent, POST /v1/chat/completions as a model that gets the tool-calling suite right, streamed
or not. GET /requests gives what was asked since the last time: [path, body] in the order in which it came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import uuid
from typing import Any

import uvicorn

from genai_pipeline.evaluation.suite_files import load_tool_suite
from tests.fakes.asgi_engine import body_of
from tests.fakes.tool_model import as_reply, as_stream, perfect

JSON = b"application/json"
AGENT_ANSWER = {
    "response": "It is 14°C and sunny there.",
    "usage": {"inputTokens": 90, "outputTokens": 20, "totalTokens": 110},
    "tools": [{"name": "get_weather", "arguments": {"location": "Oslo"}, "status": "success", "ms": 3}],
    "cycles": [{"ms": 100, "inputTokens": 45, "outputTokens": 10}] * 2,
}


class FixedLatency:
    """The ASGI application. Nothing but the wait takes time that counts."""

    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._asked: list[tuple[str, Any]] = []
        self._say = perfect(load_tool_suite())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            content_type, text = await self._answer(scope["method"], scope["path"], receive)
            await _reply(send, text, content_type)

    async def _answer(self, method: str, path: str, receive: Any) -> tuple[bytes, str]:
        """(content type, body)"""
        if method == "GET":
            if path != "/requests":
                return JSON, '{"status": "ready"}'
            asked, self._asked = self._asked, []
            return JSON, json.dumps(asked)
        body = json.loads(await body_of(receive))
        self._asked.append((path, body))
        await asyncio.sleep(self._latency_s)
        if path == "/agent":
            return JSON, json.dumps(AGENT_ANSWER | {"session_id": body.get("session_id") or uuid.uuid4().hex})
        said = self._say(body)
        return (b"text/event-stream", as_stream(said)) if body.get("stream") else (JSON, json.dumps(as_reply(said)))


async def _reply(send: Any, text: str, content_type: bytes) -> None:
    body = text.encode()
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=250)
    args = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    app = FixedLatency(args.latency_ms / 1000)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=60)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
