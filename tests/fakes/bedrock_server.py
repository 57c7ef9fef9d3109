"""Bedrock's ConverseStream on loopback: the real botocore talks to it, in the real framing.

Shapes as the service sends them: application/vnd.amazon.eventstream, each message a prelude, headers, payload and two
checksums. Source: Amazon Bedrock API reference, ConverseStream; AWS event stream encoding.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from tests.fakes.listening import Listening

STREAM = "application/vnd.amazon.eventstream"


def frame(payload: dict[str, Any], **headers: str) -> bytes:
    """One message. Header values are strings (type 7)."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    coded = b"".join(
        bytes([len(key) + 1]) + b":" + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in named.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(coded) + len(body), len(coded))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + coded + body
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind: str, payload: dict[str, Any]) -> bytes:
    return frame(payload, message_type="event", event_type=kind, content_type="application/json")


def exception(kind: str, message: str) -> bytes:
    return frame({"message": message}, message_type="exception", exception_type=kind, content_type="application/json")


def says(words: str, stop: str = "end_turn") -> list[bytes]:
    return [
        event("messageStart", {"role": "assistant"}),
        *(event("contentBlockDelta", {"delta": {"text": f"{w} "}, "contentBlockIndex": 0}) for w in words.split()),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": stop}),
        _USAGE,
    ]


def calls(name: str, arguments: str, tool_use_id: str = "tooluse_1") -> list[bytes]:
    start = {"toolUse": {"toolUseId": tool_use_id, "name": name}}
    half = len(arguments) // 2
    return [
        event("messageStart", {"role": "assistant"}),
        event("contentBlockStart", {"start": start, "contentBlockIndex": 0}),
        *(
            event("contentBlockDelta", {"delta": {"toolUse": {"input": part}}, "contentBlockIndex": 0})
            for part in (arguments[:half], arguments[half:])
        ),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "tool_use"}),
        _USAGE,
    ]


_USAGE = event(
    "metadata",
    {"usage": {"inputTokens": 11, "outputTokens": 5, "totalTokens": 16}, "metrics": {"latencyMs": 3}},
)

Reply = list[bytes] | tuple[int, str, str]
"""Frames, or an error: status, type, message."""


class BedrockServer(Listening):
    """`script` is given each request's body; `asked` holds the model's id and the body of each."""

    def __init__(self, script: Callable[[dict[str, Any]], Reply]) -> None:
        self.script = script
        self.asked: list[tuple[str, dict[str, Any]]] = []
        super().__init__(_Handler)
        self.url = self.address


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        bedrock = self.server.fake
        bedrock.asked.append((unquote(self.path.split("/")[2]), body))
        reply = bedrock.script(body)
        if isinstance(reply, tuple):
            status, kind, message = reply
            answer = json.dumps({"message": message}).encode()
            self.send_response(status)
            self.send_header("x-amzn-ErrorType", kind)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
            return
        self.send_response(200)
        self.send_header("Content-Type", STREAM)
        self.end_headers()
        for part in reply:
            if not part:  # says nothing more
                bedrock.stopped.wait(30)
            self.wfile.write(part)
            self.wfile.flush()
