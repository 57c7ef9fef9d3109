"""The agent service without HTTP: its limits, and its turns in one event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.agent_metrics import AgentMetrics
from genai_pipeline.agent.chat_question import Talk
from genai_pipeline.agent.connection_age import ClientAddress
from genai_pipeline.agent.question import Question
from genai_pipeline.agent.running_turn import RunningTurn, Work
from genai_pipeline.agent.sessions.ids import new_session_id, owner_mark
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.turn_events import Emit, Event, ToolEnded, Turn, TurnBegun

if TYPE_CHECKING:
    from genai_pipeline.agent.parts import Parts

RETRY_AFTER_S = 1

_LAST_OF_KEPT: ContextVar[bool] = ContextVar("_LAST_OF_KEPT", default=False)

logger = logging.getLogger(__name__)


class AgentService:
    """Answers questions. Use it within one event loop, between `start` and `close`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.draining = threading.Event()
        self._kept: set[ClientAddress] = set()
        self.failure: Exception | None = None
        self._parts: asyncio.Future[Parts] | None = None
        self._turns: set[asyncio.Task[Any]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self.metrics = AgentMetrics(frozenset(), self._count_sessions)

    def start(self) -> None:
        """Build the parts in a thread; requests wait for them. If that fails, `failure` holds the error."""
        self._parts = asyncio.ensure_future(self._build())
        self._parts.add_done_callback(self._built)

    def begin(self, question: Question, key: str = "") -> RunningTurn:
        """Begin a turn in a session of this key's caller. A cancelled turn leaves no trace.

        Raises: AgentError: 429 or 503; the turn did not begin.
        """
        return self._begin(lambda emit: self._answer(question, key, emit))

    def begin_alone(self, talk: Talk, turn_id: str) -> RunningTurn:
        """Begin a turn that belongs to no session. Args: turn_id: names it in the traces.

        Raises: AgentError: 429 or 503; the turn did not begin.
        """
        return self._begin(lambda emit: self._answer_alone(talk, turn_id, emit))

    def _begin(self, work: Work) -> RunningTurn:
        self._refuse_while_draining()
        if len(self._turns) >= self.settings.max_concurrent:
            raise AgentError(
                429,
                "too_many_requests",
                f"{self.settings.max_concurrent} requests are under way. Try again in {RETRY_AFTER_S} s.",
                RETRY_AFTER_S,
            )
        turn = RunningTurn(work)
        self._turns.add(turn.task)
        turn.task.add_done_callback(self._turns.discard)
        return turn

    async def view(self, session_id: str, key: str) -> dict[str, Any]:
        """Return the conversation in a form for people. Raises: AgentError."""
        async with self._deadline():
            return await (await self._ready_parts()).sessions.view(session_id, owner_mark(session_id, key))

    async def delete(self, session_id: str, key: str) -> None:
        """Delete a conversation after its earlier turns. Raises: AgentError."""
        self._refuse_while_draining()
        async with self._deadline():
            await (await self._ready_parts()).sessions.delete(session_id, owner_mark(session_id, key))

    async def ready(self) -> tuple[bool, str]:
        """Return whether the service should get requests, and if not, why."""
        if self.draining.is_set():
            return False, "The service is shutting down."
        if self._parts is None or not self._parts.done():
            return False, "The service is starting."
        found = await (await self._ready_parts()).readiness.check()
        return found.ready, found.reason

    def leave(self, kept: Iterable[ClientAddress]) -> None:
        """Refuse new requests, but for one more on each connection that is open now: its client cannot know.

        Args:
            kept: the clients' ends of those connections. The answer closes the connection.
        """
        self._kept = set(kept)
        self.draining.set()

    def admit(self, client: ClientAddress | None) -> None:
        """Note, for the request that is handled just now, whether it is the last one of a kept connection."""
        _LAST_OF_KEPT.set(client in self._kept)
        self._kept.discard(client or ("", 0))

    async def drain(self, deadline_s: float) -> int:
        """Wait until all turns have ended; return how many were cancelled at the deadline."""
        ends_at = time.monotonic() + deadline_s
        while self._turns and (left_s := ends_at - time.monotonic()) > 0:
            await asyncio.wait(self._turns, timeout=left_s)
        left = list(self._turns)
        for turn in left:
            turn.cancel()
        return len(left)

    async def close(self) -> None:
        if self._sweeping:
            self._sweeping.cancel()
        if self._parts and not self.failure:
            await (await self._parts).close()

    async def _build(self) -> Parts:
        parts = await asyncio.to_thread(self._imported_and_built)
        await parts.start()
        return parts

    def _imported_and_built(self) -> Parts:
        from genai_pipeline.agent.parts import Parts

        return Parts.build(self.settings, self.metrics)

    def _built(self, parts: asyncio.Future[Parts]) -> None:
        if error := parts.exception():
            self.failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
        else:
            self._sweeping = asyncio.ensure_future(parts.result().sessions.sweep_for_ever())

    async def _ready_parts(self) -> Parts:
        """Raises: AgentError: the parts could not be built, and the service is about to end."""
        if self._parts is None or self.failure:
            raise AgentError(503, "not_started", "The service could not start. See its log.", 1)
        return await asyncio.shield(self._parts)

    def _count_sessions(self) -> int:
        built = self._parts and self._parts.done() and not self.failure
        return len(self._parts.result().sessions) if self._parts and built else 0

    def _refuse_while_draining(self) -> None:
        if self.draining.is_set() and not _LAST_OF_KEPT.get():
            raise AgentError(
                503, "shutting_down", "The service is shutting down. Try again; another replica answers.", 1
            )

    async def _answer(self, question: Question, key: str, emit: Emit) -> dict[str, Any]:
        session_id = question.session_id or new_session_id()
        with self._counted():
            turn = await self._turn(session_id, owner_mark(session_id, key), question.prompt, self._watched(emit))
        return turn.to_json() | {"session_id": session_id}

    async def _answer_alone(self, talk: Talk, turn_id: str, emit: Emit) -> dict[str, Any]:
        with self._counted():
            return (await self._turn_alone(talk, turn_id, self._watched(emit))).to_json()

    async def _turn(self, session_id: str, owner: str, prompt: str, emit: Emit) -> Turn:
        parts = await self._ready_parts()
        async with AsyncExitStack() as until_kept:
            async with self._explained(parts):
                session = await until_kept.enter_async_context(parts.sessions.use(session_id, owner))
                emit(TurnBegun(session_id))
                outcome = await session.conversation.turn(
                    prompt, session.history, emit, parts.tracing.attributes(session_id)
                )
            await parts.sessions.keep(session, outcome)
            return outcome.turn

    async def _turn_alone(self, talk: Talk, turn_id: str, emit: Emit) -> Turn:
        parts = await self._ready_parts()
        async with self._explained(parts):
            emit(TurnBegun(turn_id))
            history = parts.sessions.newest(talk.history)
            attributes = parts.tracing.attributes(turn_id)
            return (await parts.converse(talk.system).turn(talk.prompt, history, emit, attributes)).turn

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self.metrics.in_flight.track_inprogress():
            try:
                yield
            except AgentError as error:
                logger.warning("code=<%s> | a turn failed", error.code)
                raise

    @asynccontextmanager
    async def _explained(self, parts: Parts) -> AsyncIterator[None]:
        """Hold the deadline. Raises: AgentError: for every error within it."""
        try:
            async with self._deadline():
                yield
        except AgentError:
            raise
        except Exception as error:
            explained = parts.models.explain(error)
            if explained.status == 500:
                logger.exception("code=<%s> | a turn failed unexpectedly", explained.code)
            raise explained from error

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        seconds = self.settings.deadline_s
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"There was no answer within {seconds:g} s. Ask for less, or try again later."
            raise AgentError(504, "deadline", message) from error

    def _watched(self, emit: Emit) -> Emit:
        def watch(event: Event) -> None:
            if isinstance(event, ToolEnded):
                self.metrics.tool_called(event.use.name, event.use.status, event.use.ms / 1000)
            emit(event)

        return watch
