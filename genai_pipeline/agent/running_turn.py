"""A turn under way, independent of the request that waits for it, which may read its events or end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.turn_events import Emit, Event, TurnAnswered

Work = Callable[[Emit], Coroutine[Any, Any, dict[str, Any]]]


class RunningTurn:
    """Runs at once, in its own task: Strands' context variables must be reset in the task that set them.

    Args:
        work: makes the turn, emits its events, and returns the answer's JSON.
    """

    def __init__(self, work: Work) -> None:
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.task = asyncio.create_task(work(self._events.put_nowait))
        self.task.add_done_callback(lambda _: self._events.put_nowait(None))

    async def next(self, patience_s: float) -> Event | None:
        """Return the next event, at the end Answered, or None if there was no event for so long.

        Raises: AgentError: the turn failed.
        """
        try:
            async with asyncio.timeout(patience_s):
                event = await self._events.get()
        except TimeoutError:
            return None
        return TurnAnswered(self.reply()) if event is None else event

    def reply(self) -> dict[str, Any]:
        """Return the answer's JSON of a turn that has ended. Raises: AgentError: the turn failed."""
        if self.task.cancelled():
            raise AgentError(503, "shutting_down", "The service shut down before the answer came. Try again.", 1)
        return self.task.result()

    def cancel(self) -> None:
        """End the turn if it has not ended. It cleans up by itself."""
        self.task.cancel()
