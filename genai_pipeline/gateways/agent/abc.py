"""One agent service, as its users see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AgentAnswer:
    """`tools` as the service reports them: name, arguments, status."""

    text: str
    session_id: str
    tools: tuple[Mapping[str, Any], ...]
    release: str | None


class AgentEndpoint(ABC):
    """Raises AgentUnavailable (no answer, 5xx, our key is refused) or Refused (4xx), with the service's own words."""

    base_url: str

    @abstractmethod
    def release(self) -> str | None:
        """The release whose engine this agent talks to; the agent must be ready."""

    @abstractmethod
    def ask(self, prompt: str, session_id: str | None = None) -> AgentAnswer:
        """One turn."""
