"""Conversations as data, and the one text form that training and the chat template share."""

import json
from dataclasses import dataclass, field

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"
SYSTEM, TOOLS, USER, ASSISTANT, TOOL = "<|system|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>"
TOOL_CALLS, ARGS = "[TOOL_CALLS]", "[ARGS]"
SPECIAL_TOKENS = [UNKNOWN, BOS, EOS, TOOL_CALLS, ARGS, SYSTEM, TOOLS, USER, ASSISTANT, TOOL]

WEATHER_TOOL, TIME_TOOL = ("get_weather", "location"), ("get_current_time", "timezone")


@dataclass(frozen=True)
class Call:
    """One tool call with its single argument."""

    name: str
    parameter: str
    value: str

    @property
    def arguments(self) -> dict[str, str]:
        return {self.parameter: self.value}

    def text(self) -> str:
        """As the mistral parser of vLLM reads it."""
        return f"{TOOL_CALLS}{self.name}{ARGS}{json.dumps(self.arguments, ensure_ascii=False)}"


def weather_call(location: str) -> Call:
    return Call(*WEATHER_TOOL, location)


def time_call(timezone: str) -> Call:
    return Call(*TIME_TOOL, timezone)


@dataclass
class Turn:
    """What the user says, the calls and results that follow, and the answer."""

    user: str
    answer: str
    calls: list[Call] = field(default_factory=list)
    results: list[str] = field(default_factory=list)


@dataclass
class Dialogue:
    """A whole conversation; `tools` are (name, parameters), empty when the request carries none."""

    system: str | None
    tools: list[tuple[str, list[str]]]
    turns: list[Turn]

    def text(self) -> str:
        """Render exactly as chat_template.jinja does."""
        parts = [BOS]
        if self.system is not None:
            parts += [SYSTEM, self.system]
        if self.tools:
            parts += [TOOLS, " ".join(f"{name}({','.join(parameters)})" for name, parameters in self.tools)]
        for turn in self.turns:
            parts += [USER, turn.user]
            if turn.calls:
                parts += [ASSISTANT, *(call.text() for call in turn.calls), EOS]
                parts += [part for result in turn.results for part in (TOOL, result)]
            parts += [ASSISTANT, turn.answer, EOS]
        return "".join(parts)

    def messages(self) -> list[dict]:
        """The conversation as OpenAI chat messages."""
        messages: list[dict] = [] if self.system is None else [{"role": "system", "content": self.system}]
        for number, turn in enumerate(self.turns):
            messages.append({"role": "user", "content": turn.user})
            if turn.calls:
                messages.append(calls_message(turn.calls, number))
                messages += [
                    {"role": "tool", "tool_call_id": f"call-{number}-{i}", "content": r}
                    for i, r in enumerate(turn.results)
                ]
            messages.append({"role": "assistant", "content": turn.answer})
        return messages

    def tool_specs(self) -> list[dict]:
        """The tools as OpenAI function definitions."""
        return [tool_spec(name, parameters) for name, parameters in self.tools]


def calls_message(calls: list[Call], number: int) -> dict:
    """The assistant's message that carries these calls; `number` makes the ids unique."""
    entries = [
        {
            "id": f"call-{number}-{i}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
        }
        for i, call in enumerate(calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": entries}


def tool_spec(name: str, parameters: list[str]) -> dict:
    """One OpenAI function definition; the template shows the names only."""
    properties = {parameter: {"type": "string", "description": parameter} for parameter in parameters}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": name.replace("_", " "), "parameters": schema}}
