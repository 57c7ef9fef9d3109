"""The answers of the chat completions API, whole or as a stream of server-sent events. Pure.

Sources: OpenAI API reference, "Create chat completion" and "The chat completion chunk object". vLLM documentation,
"Reasoning Outputs": a reasoning parser puts the thoughts of a model into `reasoning` (earlier: `reasoning_content`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True)
class RawCall:
    """A tool call as the endpoint sent it; `arguments` is the text that should be JSON."""

    id: str
    name: str
    arguments: str


@dataclass
class ChatAnswer:
    """One answer.

    Args:
        reasoning: what the model thought before it answered, or an empty text where the engine has no reasoning parser.
        finish: the finish reason, or an empty text where the answer ended without one.
        usage: token counts as the endpoint gives them, or an empty mapping where it gives none.
    """

    text: str = ""
    reasoning: str = ""
    calls: list[RawCall] = field(default_factory=list[RawCall])
    finish: str = ""
    model: str = ""
    refusal: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])


def parse_answer(content: bytes | bytearray, streamed: bool = False) -> ChatAnswer:
    """Return the answer that a response body holds.

    Raises: ValueError: the body is not a chat completion, or not a stream of its chunks.
    """
    try:
        return _joined(stream_events(content)) if streamed else _whole(json.loads(content))
    except _MALFORMED as error:
        shown = content[:200].decode("utf-8", "replace")
        raise ValueError(f"not a chat completion ({error!r}): {shown!r}") from error


def stream_events(content: bytes | bytearray) -> Iterator[Mapping[str, Any]]:
    """Yield the chunks of a whole stream. Raises: ValueError: see `stream_event`."""
    for line in content.decode().splitlines():
        event = stream_event(line)
        if event is not None:
            yield event


def stream_event(line: str) -> Mapping[str, Any] | None:
    """Return the chunk that one line of a stream holds, or None for other lines and for the end of the stream.

    Raises: ValueError: the line is not a chunk, or it reports an error of the server.
    """
    if not line.startswith("data: ") or line == END:
        return None
    try:
        event = json.loads(line[6:])
        problem = event.get("error")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"not a chunk of a chat completion: {line[6:106]!r}") from error
    if problem:
        raise ValueError(f"error in the stream: {str(problem)[:200]}")
    return event


END = "data: [DONE]"


def reasoning_of(part: Mapping[str, Any]) -> str:
    """Return the thoughts in a message or in the delta of a chunk."""
    return part.get("reasoning") or part.get("reasoning_content") or ""


def arrived(choice: Mapping[str, Any]) -> tuple[bool, bool]:
    """Return what a choice in a chunk holds, of a chat or a plain completion: thoughts, and a part of the answer."""
    delta = {"content": choice["text"]} if "text" in choice else choice["delta"]
    return bool(reasoning_of(delta)), bool(delta.get("content") or delta.get("tool_calls"))


def _whole(data: Any) -> ChatAnswer:
    choice = data["choices"][0]
    message = choice["message"]
    calls = [
        RawCall(call.get("id") or "", call["function"].get("name") or "", call["function"].get("arguments") or "")
        for call in message.get("tool_calls") or []
    ]
    return ChatAnswer(
        text=message.get("content") or "",
        reasoning=reasoning_of(message),
        calls=calls,
        finish=str(choice.get("finish_reason") or ""),
        model=str(data.get("model") or ""),
        refusal=str(message.get("refusal") or ""),
        usage=data.get("usage") or {},
    )


def _joined(events: Iterator[Mapping[str, Any]]) -> ChatAnswer:
    """Join the pieces as an agent's client does: calls by index, their arguments one after another."""
    answer, calls = ChatAnswer(), dict[int, list[str]]()
    for event in events:
        answer.usage = event.get("usage") or answer.usage
        answer.model = str(event.get("model") or answer.model)
        for choice in event["choices"][:1]:
            delta = choice.get("delta") or {}
            answer.finish = str(choice.get("finish_reason") or answer.finish)
            answer.text += delta.get("content") or ""
            answer.reasoning += reasoning_of(delta)
            for piece in delta.get("tool_calls") or []:
                function = piece.get("function") or {}
                call = calls.setdefault(int(piece.get("index") or 0), ["", "", ""])
                call[0] = call[0] or piece.get("id") or ""
                call[1] += function.get("name") or ""
                call[2] += function.get("arguments") or ""
    answer.calls = [RawCall(*calls[index]) for index in sorted(calls)]
    return answer


def own_words(content: bytes | bytearray) -> str:
    """Return the message of an OpenAI or FastAPI error body, or the start of any other body."""
    text = content.decode("utf-8", "replace").strip()
    try:
        body = json.loads(text)
        error = body.get("error", body)
        message = error if isinstance(error, str) else error.get("message") or error.get("detail") or text
    except (ValueError, AttributeError):
        message = text
    return str(message)[:500].rstrip(".") + "." if message else "(an empty body)."
