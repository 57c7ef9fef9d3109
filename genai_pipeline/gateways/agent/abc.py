"""The interface of one agent service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AgentAnswer:
    """One answer; `tools` holds name, arguments and status of each call, as the service reports them."""

    text: str
    tools: tuple[Mapping[str, Any], ...] = ()


class AgentEndpoint(ABC):
    """One agent service. Methods raise AgentUnavailable (no answer, 5xx, a refused key) or Refused (4xx)."""

    base_url: str

    @abstractmethod
    def release(self) -> str | None:
        """Return the release whose engine this agent uses; the agent must be ready."""

    @abstractmethod
    def ask(self, prompt: str) -> AgentAnswer:
        """Ask one turn in a new session and return the answer."""
