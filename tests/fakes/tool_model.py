"""A model for the tool-calling suite, behind an OpenAI-compatible server on loopback, streamed and not.

    with ToolModel(perfect(suite)) as model: run_tool_calling(model.url, "m", suite)

`perfect(suite)` is the script of a model that gets every case right; a defect is a change of what it says:

    with ToolModel(perfect(suite, lambda said, request: replace(said, calls=said.calls[:1]))) as model: ...
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any

from genai_pipeline.evaluation.argument_pattern import examples, optional
from genai_pipeline.evaluation.tool_suite import ToolStep, ToolSuite
from tests.fakes.listening import Listening

PIECE = 7
"""Characters of arguments in one chunk of a stream: small, so that they arrive cut everywhere."""


@dataclass(frozen=True)
class Said:
    """One answer. `calls` are (name, arguments as text); `ids` the calls' ids, made up where None."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] | None = None
    finish: str = ""
    status: int = 200
    cut: bool = False
    headers: dict[str, str] = field(default_factory=dict)


Request = dict[str, Any]
Script = Callable[[Request], Said]
Defect = Callable[[Said, Request], Said]


def perfect(suite: ToolSuite, defect: Defect = lambda said, request: said) -> Script:
    """Says what the suite expects; the step is found by the first thing the user said and what was answered since."""
    by_first_ask = {case.turns[0].ask: case for case in suite.cases}

    def script(request: Request) -> Said:
        messages = request["messages"]
        case = by_first_ask[next(m["content"] for m in messages if m["role"] == "user")]
        step = case.turns[sum(m["role"] == "assistant" for m in messages)]
        _check_history(messages)
        return defect(_right(step), request)

    return script


def in_turn(*answers: Said) -> Callable[[Request], Said]:
    """Return a script that gives these answers one after the other, and the last one again and again."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def arguments_of(said: Said) -> list[dict[str, Any]]:
    return [json.loads(text) for _, text in said.calls]


def with_arguments(said: Said, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Said:
    """The same calls with other arguments."""
    changed = [json.dumps(change(arguments), ensure_ascii=False) for arguments in arguments_of(said)]
    return replace(said, calls=tuple((name, new) for (name, _), new in zip(said.calls, changed, strict=True)))


def _right(step: ToolStep) -> Said:
    if step.calls:
        items = [item for call in step.calls for item in call.items()]
        required = [(n, {k: p for k, p in args.items() if not optional(k)[1]}) for n, args in items]
        calls = [(n, json.dumps(next(examples(args)), ensure_ascii=False)) for n, args in required]
        return Said(calls=tuple(reversed(calls)))  # in another order than the suite writes them
    if step.asks_for:
        return Said(f"Could you tell me the {step.asks_for[0]}?")
    return Said(" ".join(group[0] for group in step.says) or "Gladly.")


def _check_history(messages: list[dict[str, Any]]) -> None:
    """Every call is answered by its id before anything else is said, as chat templates ask."""
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, messages
        open_calls = {call["id"] for call in message.get("tool_calls", [])}


class ToolModel(Listening):
    """Serves a script; `requests` holds every request."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        super().__init__(_Handler)
        self.url = self.address


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.fake.connections += 1

    def do_POST(self) -> None:
        model = self.server.fake
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model.requests.append(request | {"path": self.path, "authorization": self.headers.get("Authorization")})
        said = model.script(request)
        if said.status == 0:
            model.stopped.wait()
            return
        if said.status != 200:
            body = json.dumps({"error": {"message": said.text, "type": "BadRequestError", "code": said.status}})
            self._send(said, "application/json", body)
        elif request.get("stream"):
            self._send(said, "text/event-stream", as_stream(said))
        else:
            self._send(said, "application/json", json.dumps(as_reply(said)))

    def _send(self, said: Said, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(said.status)
        self.send_header("Content-Type", content_type)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if said.cut else body)
        self.wfile.flush()
        self.close_connection = self.close_connection or said.cut


USAGE = {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60}


def _calls(said: Said) -> list[dict[str, Any]]:
    ids = said.ids if said.ids is not None else tuple(f"call-{i}" for i in range(len(said.calls)))
    return [
        {"id": i, "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in zip(ids, said.calls, strict=True)
    ]


def _finish(said: Said) -> str:
    return said.finish or ("tool_calls" if said.calls else "stop")


def as_reply(said: Said) -> dict[str, Any]:
    message = {"role": "assistant", "content": said.text or None, "tool_calls": _calls(said) or None}
    choice = {"index": 0, "message": message, "finish_reason": _finish(said)}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": USAGE}


def as_stream(said: Said) -> str:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": said.text[i : i + PIECE]} for i in range(0, len(said.text), PIECE)]
    for index, call in enumerate(_calls(said)):
        arguments = call["function"].pop("arguments")
        deltas.append({"tool_calls": [call | {"index": index, "function": call["function"] | {"arguments": ""}}]})
        pieces = [arguments[i : i + PIECE] for i in range(0, len(arguments), PIECE)]
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if said.finish != "never":
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": _finish(said)}]})
    events.append({"choices": [], "usage": USAGE})
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return "".join(f"data: {json.dumps(frame | event)}\n\n" for event in events) + "data: [DONE]\n\n"
