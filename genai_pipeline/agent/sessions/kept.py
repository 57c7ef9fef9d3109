"""What is known in this process of a session in use, or used lately."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.agent.sessions.head import Kept
from genai_pipeline.agent.sessions.ledger import Held


@dataclass
class HotTurn:
    """A turn that counts, and its messages."""

    kept: Kept
    messages: list[Any]


@dataclass
class HotSession:
    """Args:
    conversation: the session's own agent, made when it is first needed.
    held: where sessions are stored: the record as this process saw it last, leased while a turn is under way.
    users: requests that use it or wait for it; while there are some it stays.
    """

    id: str
    owner: str
    created_at: float
    used_at: float
    turns: list[HotTurn] = field(default_factory=list)
    conversation: Any = None
    held: Held | None = None
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def history(self) -> list[Any]:
        return [message for turn in self.turns for message in turn.messages]

    def forget(self) -> None:
        self.turns, self.held = [], None
