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
