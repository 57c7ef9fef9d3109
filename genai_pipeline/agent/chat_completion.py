"""Answers in the form of OpenAI's chat completions, whole and as a stream of chunks.

Source: https://platform.openai.com/docs/api-reference/chat/object and /chat-streaming. The agent's tool calls are not
part of them: a client would try to make them itself.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.answering import openai_error
from genai_pipeline.agent.streaming import HEARTBEAT
from genai_pipeline.agent.turn_events import Delta, Event, ToolStarted, TurnAnswered, TurnBegun

_DONE = "data: [DONE]\n\n"


@dataclass
class ChatAnswer:
    """The answer to one request.

    Args:
        model: the agent's name.
        release: shown as `system_fingerprint`, or null if it is an empty text.
        wants_usage: the stream ends with a chunk that has the usage, and all others have `usage: null`.
    """

    model: str
    release: str
    wants_usage: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _spoken: bool = False
    _tool_since: bool = False

    def whole(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return the completion. Args: reply: the answer's JSON, of `Turn.to_json`."""
        message = {"role": "assistant", "content": reply["response"], "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return self._frame("chat.completion", choices=[choice], usage=usage_of(reply["usage"]))

    def event(self, event: Event | None) -> str:
        """Return the event as chunks, or an empty text if it is not for the client."""
        match event:
            case None:
                return HEARTBEAT
            case TurnBegun():
                return self._chunk({"role": "assistant", "content": ""})
            case ToolStarted():
                self._tool_since = True
                return ""
            case Delta(text):
                apart = "\n\n" if self._spoken and self._tool_since else ""
                self._spoken, self._tool_since = True, False
                return self._chunk({"content": apart + text})
            case TurnAnswered(reply):
                return self._chunk({}, "stop") + self._usage(reply) + _DONE
            case _:
                return ""

    def error(self, error: AgentError) -> str:
        """Return the error as the end of the stream: OpenAI's clients raise it."""
        return _data({"error": openai_error(error)}) + _DONE

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        usage = {"usage": None} if self.wants_usage else {}
        return _data(self._frame("chat.completion.chunk", choices=[choice], **usage))

    def _usage(self, reply: Mapping[str, Any]) -> str:
        if not self.wants_usage:
            return ""
        return _data(self._frame("chat.completion.chunk", choices=[], usage=usage_of(reply["usage"])))

    def _frame(self, kind: str, **content: Any) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return named | {"system_fingerprint": self.release or None} | content


def usage_of(usage: Mapping[str, int]) -> dict[str, Any]:
    """Return the tokens of all completions of the turn under OpenAI's names."""
    counted: dict[str, Any] = {
        "prompt_tokens": usage["inputTokens"],
        "completion_tokens": usage["outputTokens"],
        "total_tokens": usage["totalTokens"],
    }
    if cached := usage.get("cacheReadInputTokens"):
        counted["prompt_tokens_details"] = {"cached_tokens": cached}
    return counted


def _data(content: Mapping[str, Any]) -> str:
    """Return a frame in ASCII: many readers end a line at U+2028, and UTF-8 has no halves of surrogate pairs."""
    return f"data: {json.dumps(content)}\n\n"
