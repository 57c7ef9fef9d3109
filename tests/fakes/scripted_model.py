"""A model that does what a script says, as an OpenAI-compatible server on loopback: streamed, with tool calls.

    with ScriptedModel(lambda messages: Say(calls=[("get_weather", {"location": "Oslo"})])) as model: ...

`solves(suite)` is the script of a model that gets every case of a suite right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.evaluation.agent_suite import PARAMETERS, AgentSuite
from tests.fakes.wild_model import Talk, WildModel, call, delta, text

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


class ScriptedModel(WildModel):
    """Serves `script` as the model `name`; `seen` holds the messages of every completion."""

    def __init__(self, script: Script, name: str = "scripted", host: str = "127.0.0.1") -> None:
        self.script, self.seen = script, list[Messages]()
        super().__init__(self._complete, name, host)

    def _complete(self, talk: Talk) -> None:
        self.seen.append(talk.messages)
        say = Say("tools must not be empty", status=400) if talk.body.get("tools") == [] else None  # vLLM's own rule
        say = say or self.script(talk.messages)
        self.stopped.wait(say.wait_s)
        if say.status != 200:
            talk.error(say.status, say.text)
            return
        calls = [call(name, json.dumps(arguments), f"call{i}", i) for i, (name, arguments) in enumerate(say.calls)]
        talk.stream(text(say.text), *calls, delta(say.finish or ("tool_calls" if calls else "stop")))


def text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def results_of(messages: Messages) -> list[str]:
    """What the tools answered since the user spoke."""
    since = max(i for i, m in enumerate(messages) if m["role"] == "user")
    return [text_of(m) for m in messages[since:] if m["role"] == "tool"]


def tells_the_time(messages: Messages) -> Say:
    """Ask for the time in Tokyo, then say what came."""
    found = results_of(messages)
    return (
        Say(f"In Tokyo it is {found[-1]}") if found else Say(calls=[("get_current_time", {"timezone": "Asia/Tokyo"})])
    )


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
