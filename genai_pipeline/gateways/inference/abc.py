"""The interface of one OpenAI-compatible endpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
Tool = Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A parsed tool call. `arguments` is None where the engine's text was not a JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True)
class Completion:
    """A finished answer. Tokens as the engine counts them.

    Args:
        reasoning: what the model thought before it answered; empty where the engine has no reasoning parser.
    """

    model: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    reasoning: str = ""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was generated. Thoughts and tool calls are an answer as well as words are."""
        return self.completion_tokens < 1 or not (self.text.strip() or self.reasoning.strip() or self.tool_calls)


@dataclass(frozen=True)
class DrainStatus:
    """What a replica answers when it is asked to close its connections.

    Args:
        pod: name of the replica that answered.
        drained: no request runs, and no kept connection is left that a stop would cut.
        running: the requests that run, each with path, the client's own request id and age.
    """

    pod: str
    drained: bool
    running: tuple[str, ...]


class Inference(ABC):
    """One endpoint. Methods raise EngineUnavailable (no answer, 5xx) or Refused (4xx), with the engine's own words."""

    base_url: str

    @abstractmethod
    def models(self) -> dict[str, str]:
        """Return the served model names with the address that each was loaded from (`root`)."""

    @abstractmethod
    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[Tool] = (), max_tokens: int = 64
    ) -> Completion:
        """Return one completion at temperature 0, not streamed."""

    def within(self, deadline_s: float) -> Inference:
        """Return the same endpoint with another deadline for each request, in seconds, and its own connections."""
        return self

    def close(self) -> None:  # noqa: B027
        """Close the connections."""

    def leave(self) -> DrainStatus | None:
        """Ask one replica behind the address to close each connection after its answer; None if it does not know how.

        Each call is a new connection and may reach another replica. Idempotent.
        """
        return None
