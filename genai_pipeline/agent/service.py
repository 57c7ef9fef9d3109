"""The agent service without HTTP: sessions, limits, and turns side by side in one event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.events import Begun, Emit, Event, ToolEnded, Turn
from genai_pipeline.agent.metrics import AgentMetrics
from genai_pipeline.agent.models.chain import ModelChain
from genai_pipeline.agent.question import Question
from genai_pipeline.agent.readiness import Readiness, ReadinessCheck
from genai_pipeline.agent.running_turn import RunningTurn
from genai_pipeline.agent.sessions import Sessions, new_session_id
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.tools.builtin import Clock, build_tools, utc_clock
from genai_pipeline.agent.tools.weather import WeatherService

RETRY_AFTER_S = 1

logger = logging.getLogger(__name__)


class AgentService:
    """Answers questions. Use it within one event loop, which owns all connections; give it back with `close`."""

    def __init__(self, settings: Settings, clock: Clock = utc_clock) -> None:
        from genai_pipeline.agent.conversation import Conversation

        self.settings = settings
        self.draining = threading.Event()
        self._weather = WeatherService(settings.weather_url, settings.weather_timeout_s)
        tools = build_tools(self._weather, clock)
        self.metrics = AgentMetrics(frozenset(t.tool_name for t in tools), lambda: len(self._sessions))
        self._models = ModelChain(settings, self.metrics)
        model = self._models.model()
        self._sessions = Sessions(
            lambda: Conversation(model, tools, settings), settings.max_sessions, settings.session_ttl_s
        )
        self._readiness = ReadinessCheck(settings, self._models, [t.tool_spec for t in tools])
        self._turns: set[asyncio.Task[Any]] = set()

    def begin(self, question: Question) -> RunningTurn:
        """Begin a turn of a session. Cancelled, it leaves no trace.

        Raises: AgentError: 429 or 503; nothing is begun.
        """
        if self.draining.is_set():
            raise AgentError(503, "shutting_down", "The service is shutting down. Try again; another one answers.", 1)
        if len(self._turns) >= self.settings.max_concurrent:
            raise AgentError(
                429,
                "too_many_requests",
                f"{self.settings.max_concurrent} requests are under way. Try again in {RETRY_AFTER_S} s.",
                RETRY_AFTER_S,
            )
        turn = RunningTurn(lambda emit: self._answer(question, emit))
        self._turns.add(turn.task)
        turn.task.add_done_callback(self._turns.discard)
        return turn

    async def ready(self) -> Readiness:
        if self.draining.is_set():
            return Readiness(False, "The service is shutting down.")
        return await self._readiness.check()

    async def drain(self, deadline_s: float) -> int:
        """Wait until no turn is under way; how many were ended because they took longer."""
        self.draining.set()
        if not self._turns:
            return 0
        _, left = await asyncio.wait(self._turns, timeout=deadline_s)
        for turn in left:
            turn.cancel()
        return len(left)

    async def close(self) -> None:
        await self._weather.close()
        await self._models.close()

    async def _answer(self, question: Question, emit: Emit) -> dict[str, Any]:
        with self.metrics.in_flight.track_inprogress():
            session_id = question.session_id or new_session_id()
            with self._sessions.use(session_id) as conversation:
                emit(Begun(session_id))
                turn = await self._turn(conversation, question.prompt, self._watched(emit))
        return turn.to_json() | {"session_id": session_id}

    async def _turn(self, conversation: Any, prompt: str, emit: Emit) -> Turn:
        try:
            async with asyncio.timeout(self.settings.deadline_s):
                turn = await conversation.turn(prompt, emit)
        except AgentError:
            raise
        except TimeoutError as error:
            raise AgentError(
                504, "deadline", f"No answer within {self.settings.deadline_s:g} s. Ask for less, or try again later."
            ) from error
        except Exception as error:
            told = self._models.explain(error)
            if told.status == 500:
                logger.exception("code=<%s> | a turn failed", told.code)
            else:
                logger.warning("code=<%s>, error=<%s> | a turn failed", told.code, type(error).__name__)
            raise told from error
        return turn

    def _watched(self, emit: Emit) -> Emit:
        def watch(event: Event) -> None:
            if isinstance(event, ToolEnded):
                self.metrics.tool_called(event.use.name, event.use.status, event.use.ms / 1000)
            emit(event)

        return watch
