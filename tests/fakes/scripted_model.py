"""A model that does what a script says, as an OpenAI-compatible server on loopback: streamed, with tool calls.

    with ScriptedModel(lambda messages: Say(calls=[("get_weather", {"location": "Oslo"})])) as model: ...

`solves(suite)` is the script of a model that gets every case of a suite right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from genai_pipeline.evaluation.agent_suite import PARAMETERS, AgentSuite
from tests.fakes.listening import Listening

Messages = list[dict[str, Any]]


@dataclass
class Say:
    """One completion. `status` other than 200 is an error; `finish` overrides the finish reason."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: int = 200
    finish: str = ""
    wait_s: float = 0.0


Script = Callable[[Messages], Say]


class ScriptedModel(Listening):
    """Serves `script` as the model `name`; `seen` holds the messages of every completion."""

    def __init__(self, script: Script, name: str = "scripted", host: str = "127.0.0.1") -> None:
        self.script, self.name = script, name
        self.seen: list[Messages] = []
        super().__init__(_Handler, host)
        self.url = f"{self.address}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._send(200, "application/json", json.dumps({"object": "list", "data": [{"id": self._model.name}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._model.seen.append(body["messages"])
        say = Say("tools must not be empty", status=400) if body.get("tools") == [] else None  # vLLM's own rule
        say = say or self._model.script(body["messages"])
        self._model.stopped.wait(say.wait_s)
        if say.status != 200:
            return self._send(say.status, "application/json", json.dumps({"error": {"message": say.text}}))
        calls = [
            {"index": i, "id": f"call{i}", "type": "function", "function": {"name": n, "arguments": json.dumps(a)}}
            for i, (n, a) in enumerate(say.calls)
        ]
        finish = say.finish or ("tool_calls" if calls else "stop")
        deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": say.text}, None)]
        deltas += [({"tool_calls": [call]}, None) for call in calls] + [({}, finish)]
        events = [{"choices": [{"index": 0, "delta": d, "finish_reason": f}]} for d, f in deltas]
        events.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}})
        frames = [f"data: {json.dumps({'id': 'x', 'object': 'chat.completion.chunk'} | event)}\n\n" for event in events]
        return self._send(200, "text/event-stream", "".join(frames) + "data: [DONE]\n\n")

    @property
    def _model(self) -> ScriptedModel:
        return self.server.fake

    def _send(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def results_of(messages: Messages) -> list[str]:
    """What the tools answered since the user spoke."""
    since = max(i for i, m in enumerate(messages) if m["role"] == "user")
    return [text_of(m) for m in messages[since:] if m["role"] == "tool"]


def solves(suite: AgentSuite) -> Script:
    """A model that makes the expected calls and answers with what the tools said."""
    turns = {turn.ask: turn for case in suite.cases for turn in case.turns}
    about_place = re.compile(re.escape(suite.isolation.ask).replace(r"\{place\}", "(.+)"))

    def script(messages: Messages) -> Say:
        asked = text_of(messages[-1])
        if messages[-1]["role"] == "tool":
            answered = turns.get(next(text_of(m) for m in reversed(messages) if m["role"] == "user"))
            words = [group[0] for group in answered.says] if answered else []
            return Say(" ".join([*words, *results_of(messages)]))
        if asked in turns:
            turn = turns[asked]
            calls = [(tool, {PARAMETERS[tool]: choices[0]}) for tool, choices in turn.expected]
            return Say(calls=calls) if calls else Say(" ".join(group[0] for group in turn.says) or "Fine.")
        if asked == suite.isolation.follow_up:
            earlier = [m["tool_calls"][0]["function"] for m in messages if m.get("tool_calls")]
            return (
                Say(calls=[(earlier[-1]["name"], json.loads(earlier[-1]["arguments"]))]) if earlier else Say("Where?")
            )
        found = about_place.fullmatch(asked)
        return Say(calls=[("get_weather", {"location": found[1]})]) if found else Say("Hello!")

    return script
