"""Sessions in use: each with an agent of its own, its requests in order, side by side with the others.

What is in memory is all there is where sessions are not stored, and a copy that spares reading where they are. Use it
within one event loop, which never waits for the store: requests to it run in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from genai_pipeline.agent.events import Turn
from genai_pipeline.agent.sessions.errors import NoSession, TurnTooLarge
from genai_pipeline.agent.sessions.head import Kept
from genai_pipeline.agent.sessions.kept import HotSession, HotTurn
from genai_pipeline.agent.sessions.stored import StoredSessions
from genai_pipeline.agent.sessions.transcript import moment, turn_of

SWEEPS_PER_TTL = 4
SHORTEST_SWEEP_PAUSE_S, LONGEST_SWEEP_PAUSE_S = 0.5, 300.0


@dataclass(frozen=True)
class SessionLimits:
    """Args:
    max_count: sessions in memory; the least recently used goes first, one in use never.
    ttl_s: a session ends when nobody used it for so long.
    max_bytes, max_messages: of one session; its oldest turns go when it has more.
    """

    max_count: int
    ttl_s: float
    max_bytes: int
    max_messages: int


@dataclass(frozen=True)
class Outcome:
    """What a conversation's turn came to.

    Args:
        messages: the new ones.
        forgotten: how many of the history's oldest no longer fit the model.
        size: bytes of the new ones as JSON.
    """

    turn: Turn
    messages: list[Any]
    forgotten: int
    size: int


class OpenSession:
    """A session while a turn is under way."""

    def __init__(self, sessions: Sessions, session: HotSession) -> None:
        self._sessions, self._session = sessions, session
        self.conversation, self.history = session.conversation, session.history

    async def keep(self, outcome: Outcome) -> None:
        """The turn counts from now on, as a whole. Raises: AgentError: nothing of it counts."""
        await self._sessions.keep(self._session, outcome)


class Sessions:
    """Args:
    make: builds a new session's conversation.
    stored: where they are kept besides; None: only here.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        limits: SessionLimits,
        stored: StoredSessions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._make, self._limits, self._stored, self._clock = make, limits, stored, clock
        self._hot: OrderedDict[str, HotSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hot)

    @asynccontextmanager
    async def use(self, session_id: str, owner: str) -> AsyncIterator[OpenSession]:
        """The session, new if there is none, when its turn has come. Raises: AgentError."""
        session = self._enter(session_id)
        try:
            async with self._in_order(session):
                if self._stored:
                    await self._stored.take(session, owner)
                else:
                    self._claim(session, owner)
                session.conversation = session.conversation or self._make()
                yield OpenSession(self, session)
        finally:
            self._leave(session)

    async def keep(self, session: HotSession, outcome: Outcome) -> None:
        """See OpenSession.keep."""
        if outcome.size > self._limits.max_bytes:
            raise TurnTooLarge(outcome.size, self._limits.max_bytes)
        now, ms = self._clock(), tuple(use.ms for use in outcome.turn.tools)
        turn = HotTurn(Kept(now, 0, len(outcome.messages), outcome.size, ms), outcome.messages)
        forget = self._to_forget(session, turn.kept, outcome.forgotten)
        if self._stored:
            turn.kept = await self._stored.commit(session, turn, forget)
        session.turns = [*session.turns[forget:], turn]
        session.used_at = now

    async def view(self, session_id: str, owner: str) -> dict[str, Any]:
        """The conversation as people read it. Raises: NoSession, StoreUnavailable, SessionBroken."""
        found = await self._stored.look(session_id, owner, self._hot.get(session_id)) if self._stored else None
        found = found or self._owned(session_id, owner)
        return {
            "session_id": session_id,
            "created": moment(found.created_at),
            "last_used": moment(found.used_at),
            "expires": moment(found.used_at + self._limits.ttl_s),
            "turns": [turn_of(turn.messages, turn.kept.ms, turn.kept.at) for turn in found.turns],
        }

    async def delete(self, session_id: str, owner: str) -> None:
        """Forget it, after the turns that came before. Raises: NoSession, StoreUnavailable, TakenOver."""
        session = self._enter(session_id)
        try:
            async with self._in_order(session):
                if self._stored:
                    await self._stored.delete(session, owner)
                else:
                    self._owned(session_id, owner)
                session.forget()
        finally:
            self._leave(session)

    async def sweep_for_ever(self) -> None:
        """Remove what has expired, now and then; a task of the service."""
        while True:
            pause_s = self._limits.ttl_s / SWEEPS_PER_TTL
            await asyncio.sleep(max(SHORTEST_SWEEP_PAUSE_S, min(LONGEST_SWEEP_PAUSE_S, pause_s)))
            self._forget_expired()
            if self._stored:
                await self._stored.sweep()

    async def close(self) -> None:
        if self._stored:
            await self._stored.close()

    @asynccontextmanager
    async def _in_order(self, session: HotSession) -> AsyncIterator[None]:
        """Where sessions are stored the lease is given back before the next request has its turn."""
        await session.lock.acquire()
        try:
            yield
        finally:
            if self._stored and self._stored.unsettled(session):
                session.users += 1
                self._stored.settle(session, lambda: (session.lock.release(), self._leave(session)))
            else:
                session.lock.release()

    def _enter(self, session_id: str) -> HotSession:
        self._forget_expired()
        session = self._hot.get(session_id)
        if session is None:
            self._forget_oldest_beyond(self._limits.max_count - 1)
            session = self._hot[session_id] = HotSession(session_id, "", self._clock(), self._clock())
        session.users += 1
        self._hot.move_to_end(session_id)
        return session

    def _leave(self, session: HotSession) -> None:
        session.users -= 1
        if not session.users and not session.turns:  # it never came to a turn that counts
            self._hot.pop(session.id, None)

    def _claim(self, session: HotSession, owner: str) -> None:
        if session.turns and session.owner != owner:
            raise NoSession
        if not session.turns:
            session.owner, session.created_at = owner, self._clock()

    def _owned(self, session_id: str, owner: str) -> HotSession:
        session = self._hot.get(session_id)
        if session is None or not session.turns or session.owner != owner or self._expired(session):
            raise NoSession
        return session

    def _to_forget(self, session: HotSession, new: Kept, forgotten: int) -> int:
        """How many of the oldest turns go: those that the model could not take, and those beyond the limits."""
        kept = [turn.kept for turn in session.turns]
        count, messages, size = 0, sum(k.count for k in kept) + new.count, sum(k.size for k in kept) + new.size
        while count < len(kept) and (
            forgotten > 0 or messages > self._limits.max_messages or size > self._limits.max_bytes
        ):
            oldest = kept[count]
            count, forgotten = count + 1, forgotten - oldest.count
            messages, size = messages - oldest.count, size - oldest.size
        return count

    def _expired(self, session: HotSession) -> bool:
        return session.used_at < self._clock() - self._limits.ttl_s

    def _forget_expired(self) -> None:
        for session_id in [k for k, s in self._hot.items() if not s.users and self._expired(s)]:
            del self._hot[session_id]

    def _forget_oldest_beyond(self, count: int) -> None:
        surplus = len(self._hot) - count
        for session_id in [k for k, s in self._hot.items() if not s.users][: max(0, surplus)]:
            del self._hot[session_id]
