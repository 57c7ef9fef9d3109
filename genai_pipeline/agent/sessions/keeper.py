"""Sessions in use: each one has an agent of its own, and its requests wait for each other.

If sessions are not stored, this memory is all there is. If they are stored, it is a copy that saves reading. Use it
within one event loop; requests to a store run in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from genai_pipeline.agent.sessions.leases import SessionVersion
from genai_pipeline.agent.sessions.session_errors import NoSession, TurnTooLarge
from genai_pipeline.agent.sessions.session_record import (
    SessionLimits,
    SessionRecord,
    StoredTurn,
    newest_turns,
    turns_to_forget,
)
from genai_pipeline.agent.sessions.shared import LiveSession, SharedSessions
from genai_pipeline.agent.sessions.transcript import moment, turn_of
from genai_pipeline.agent.turn_events import Turn

SWEEPS_PER_TTL = 4
SHORTEST_SWEEP_PAUSE_S, LONGEST_SWEEP_PAUSE_S = 0.5, 300.0


@dataclass(frozen=True)
class TurnOutcome:
    """The result of a conversation's turn.

    Args:
        messages: the new messages.
        forgotten: how many of the history's oldest messages no longer fit the model.
        size: bytes of the new messages as JSON.
    """

    turn: Turn
    messages: list[Any]
    forgotten: int
    size: int


class Sessions:
    """All sessions of this process.

    Args:
        make: builds the conversation of a new session.
        shared: where sessions are stored; None: only in this memory.
        clock: returns the Unix time.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        limits: SessionLimits,
        shared: SharedSessions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._make, self._limits, self._shared, self._clock = make, limits, shared, clock
        self._live: OrderedDict[str, LiveSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live)

    @asynccontextmanager
    async def use(self, session_id: str, owner: str) -> AsyncIterator[LiveSession]:
        """Wait for the session's turn and yield the session; create it if needed. Raises: AgentError."""
        session = self._enter(session_id)
        try:
            async with self._in_order(session):
                if self._shared:
                    await self._shared.take(session, owner)
                else:
                    self._claim(session, owner)
                session.conversation = session.conversation or self._make()
                yield session
        finally:
            self._leave(session)

    async def keep(self, session: LiveSession, outcome: TurnOutcome) -> None:
        """Add the turn to the session, as a whole. Raises: AgentError: nothing of the turn counts."""
        if outcome.size > self._limits.max_bytes:
            raise TurnTooLarge(outcome.size, self._limits.max_bytes)
        ms = tuple(use.ms for use in outcome.turn.tools)
        turn = StoredTurn(self._clock(), outcome.messages, outcome.size, ms)
        assert session.version
        record = session.version.record
        forget = turns_to_forget(record.turns, turn, outcome.forgotten, self._limits)
        if self._shared:
            await self._shared.commit(session, turn, forget)
        else:
            session.version = SessionVersion(session.id, record.with_turn(turn, forget), "")

    def newest(self, history: Sequence[Any]) -> list[Any]:
        """Return the newest turns of a history, as many as a session may hold."""
        return newest_turns(history, self._limits)

    async def view(self, session_id: str, owner: str) -> dict[str, Any]:
        """Return the conversation in a form for people. Raises: NoSession, SessionsUnavailable, SessionBroken."""
        found = await self._shared.look(session_id, owner) if self._shared else self._owned(session_id, owner)
        return {
            "session_id": session_id,
            "created": moment(found.created_at),
            "last_used": moment(found.used_at),
            "expires": moment(found.used_at + self._limits.ttl_s),
            "turns": [turn_of(turn.messages, turn.ms, turn.at) for turn in found.turns],
        }

    async def delete(self, session_id: str, owner: str) -> None:
        """Delete the session after its earlier requests. Raises: NoSession, SessionsUnavailable, TakenOver."""
        session = self._enter(session_id)
        try:
            async with self._in_order(session):
                if self._shared:
                    await self._shared.delete(session, owner)
                else:
                    self._owned(session_id, owner)
                session.version = None
        finally:
            self._leave(session)

    async def sweep_for_ever(self) -> None:
        """Remove expired sessions now and then; a task of the service."""
        while True:
            pause_s = self._limits.ttl_s / SWEEPS_PER_TTL
            await asyncio.sleep(max(SHORTEST_SWEEP_PAUSE_S, min(LONGEST_SWEEP_PAUSE_S, pause_s)))
            self._forget_expired()
            if self._shared:
                await self._shared.sweep()

    async def close(self) -> None:
        if self._shared:
            await self._shared.close()

    @asynccontextmanager
    async def _in_order(self, session: LiveSession) -> AsyncIterator[None]:
        """One request at a time. The lease of a stored session is given back before the next request begins."""
        await session.lock.acquire()
        try:
            yield
        finally:
            if self._shared and self._shared.unsettled(session):
                session.users += 1
                self._shared.settle(session, lambda: (session.lock.release(), self._leave(session)))
            else:
                session.lock.release()

    def _enter(self, session_id: str) -> LiveSession:
        self._forget_expired()
        session = self._live.get(session_id)
        if session is None:
            self._forget_oldest_beyond(self._limits.max_count - 1)
            session = self._live[session_id] = LiveSession(session_id)
        session.users += 1
        self._live.move_to_end(session_id)
        return session

    def _leave(self, session: LiveSession) -> None:
        session.users -= 1
        if not session.users and not (session.record and session.record.turns):  # no turn of it ever counted
            self._live.pop(session.id, None)

    def _claim(self, session: LiveSession, owner: str) -> None:
        if session.record is None or not session.record.turns:
            now = self._clock()
            session.version = SessionVersion(session.id, SessionRecord(owner, now, now), "")
        elif session.record.owner != owner:
            raise NoSession

    def _owned(self, session_id: str, owner: str) -> SessionRecord:
        session = self._live.get(session_id)
        record = session.record if session and not self._expired(session) else None
        if record is None or not record.turns or record.owner != owner:
            raise NoSession
        return record

    def _expired(self, session: LiveSession) -> bool:
        return session.record is None or session.record.used_at < self._clock() - self._limits.ttl_s

    def _forget_expired(self) -> None:
        for session_id in [key for key, live in self._live.items() if not live.users and self._expired(live)]:
            del self._live[session_id]

    def _forget_oldest_beyond(self, count: int) -> None:
        surplus = len(self._live) - count
        for session_id in [key for key, live in self._live.items() if not live.users][: max(0, surplus)]:
            del self._live[session_id]
