"""A turn under way, apart from whoever waits for it: they may read its events, wait for its end, or end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.events import Answered, Emit, Event

Work = Callable[[Emit], Coroutine[Any, Any, dict[str, Any]]]


class RunningTurn:
    """Starts at once, in a task of its own: Strands' context variables must be reset where they were set.

    Args:
        work: does the turn, tells what happens, and returns the answer's JSON.
    """

    def __init__(self, work: Work) -> None:
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.task = asyncio.create_task(work(self._events.put_nowait))
        self.task.add_done_callback(lambda _: self._events.put_nowait(None))

    async def next(self, patience_s: float) -> Event | None:
        """The next event, at the end Answered; None when there was none for so long.

        Raises: AgentError: how the turn ended.
        """
        try:
            async with asyncio.timeout(patience_s):
                event = await self._events.get()
        except TimeoutError:
            return None
        return Answered(self.reply()) if event is None else event

    def reply(self) -> dict[str, Any]:
        """The JSON of the answer of a turn that has ended. Raises: AgentError: how it ended instead."""
        if self.task.cancelled():
            raise AgentError(503, "shutting_down", "The service shut down before the answer came. Try again.", 1)
        return self.task.result()

    def cancel(self) -> None:
        """End it if it has not ended. It tidies up by itself."""
        self.task.cancel()
