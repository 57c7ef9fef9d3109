"""The agent service without HTTP: sessions, limits and one event loop in which every turn runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from genai_pipeline.agent.conversation import Conversation, ToolUse, Turn
from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.metrics import AgentMetrics
from genai_pipeline.agent.models import ModelEndpoint
from genai_pipeline.agent.question import Question
from genai_pipeline.agent.readiness import Readiness, ReadinessCheck
from genai_pipeline.agent.sessions import Sessions, new_session_id
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.tools import Clock, build_tools, utc_clock
from genai_pipeline.agent.weather import WeatherService

T = TypeVar("T")
RETRY_AFTER_S = 1

logger = logging.getLogger(__name__)


class AgentService:
    """Answers questions from many threads; turns run side by side in one event loop, which owns all connections.

    Give it back with `close`.
    """

    def __init__(self, settings: Settings, clock: Clock = utc_clock) -> None:
        self.settings = settings
        self.draining = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="agent-turns", daemon=True).start()
        self._endpoint = ModelEndpoint(settings)
        self._weather = WeatherService(settings.weather_url, settings.weather_timeout_s)
        model, tools = self._endpoint.model(), build_tools(self._weather, clock)
        self._sessions = Sessions(
            lambda: Conversation(model, tools, settings), settings.max_sessions, settings.session_ttl_s
        )
        self._readiness = ReadinessCheck(settings, self._endpoint, [t.tool_spec for t in tools])
        self._slots = threading.BoundedSemaphore(settings.max_concurrent)
        self.metrics = AgentMetrics(frozenset(t.tool_name for t in tools), lambda: len(self._sessions))

    def answer(self, question: Question) -> dict[str, Any]:
        """One turn of a session, as the JSON of the answer. Raises: AgentError."""
        if self.draining.is_set():
            raise AgentError(503, "shutting_down", "The service is shutting down. Try again; another one answers.", 1)
        if not self._slots.acquire(blocking=False):
            raise AgentError(
                429,
                "too_many_requests",
                f"{self.settings.max_concurrent} requests are under way. Try again in {RETRY_AFTER_S} s.",
                RETRY_AFTER_S,
            )
        try:
            with self.metrics.in_flight.track_inprogress():
                session_id = question.session_id or new_session_id()
                with self._sessions.use(session_id) as conversation:
                    turn = self._run(self._turn(conversation, question.prompt))
        finally:
            self._slots.release()
        self.metrics.tokens_used(turn.usage)
        return turn.to_json() | {"session_id": session_id}

    def ready(self) -> Readiness:
        if self.draining.is_set():
            return Readiness(False, "The service is shutting down.")
        return self._run(self._readiness.check())

    def close(self) -> None:
        """Close the connections and end the loop."""
        self._run(self._weather.close())
        self._run(self._endpoint.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _turn(self, conversation: Conversation, prompt: str) -> Turn:
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                turn = await conversation.turn(prompt, self._count)
        except AgentError:
            raise
        except TimeoutError as error:
            raise AgentError(
                504, "deadline", f"No answer within {self.settings.deadline_s:g} s. Ask for less, or try again later."
            ) from error
        except Exception as error:
            told = self._endpoint.explain(error)
            if told.status == 500:
                logger.exception("code=<%s> | a turn failed", told.code)
            else:
                logger.warning("code=<%s>, error=<%s> | a turn failed", told.code, type(error).__name__)
            raise told from error
        self._readiness.completed()
        return turn

    def _count(self, use: ToolUse) -> None:
        self.metrics.tool_called(use.name, use.status)
