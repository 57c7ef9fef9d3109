"""One OpenAI-compatible endpoint, as its users see it."""

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
    """A finished answer. Tokens as the engine counts them."""

    model: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Leaving:
    """What one replica says that was asked to give up its connections.

    Args:
        pod: name of the replica that answered.
        drained: nothing runs, and no kept connection is left that stopping it would cut.
        running: what runs, named by path, the client's own request id, and age.
    """

    pod: str
    drained: bool
    running: tuple[str, ...]


class Inference(ABC):
    """Raises EngineUnavailable (no answer, 5xx) or Refused (4xx), with the engine's own words."""

    base_url: str

    @abstractmethod
    def models(self) -> dict[str, str]:
        """Served model name -> where the engine says it was loaded from (`root`)."""

    @abstractmethod
    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[Tool] = (), max_tokens: int = 64
    ) -> Completion:
        """One completion at temperature 0, not streamed."""

    def within(self, deadline_s: float) -> Inference:
        """The same endpoint with another deadline for each request, and with connections of its own."""
        return self

    def close(self) -> None:  # noqa: B027
        """Give up the connections."""

    def leave(self) -> Leaving | None:
        """Ask one replica behind the address to close its connections as it answers; None: it knows no such thing.

        Each call is a new connection and may reach another replica. Idempotent.
        """
        return None
