"""The bridge from the event loop to the store: each session has one request to it at a time, in a thread.

A request that somebody stopped waiting for goes on, since nobody can stop a thread: what it came to is taken in by
`settle`, before the next turn of that session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.sessions.errors import Busy, Conflict, SessionBroken, StoreUnavailable
from genai_pipeline.agent.sessions.head import Head, Kept
from genai_pipeline.agent.sessions.kept import HotSession, HotTurn
from genai_pipeline.agent.sessions.ledger import Held, Ledger

T = TypeVar("T")

THREADS = 64
"""Requests to the store at once; they wait more than they compute."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
"""Between looks at a session that another replica has."""
RENEWALS_PER_LEASE = 3
CLOSE_DEADLINE_S = 10.0

logger = logging.getLogger(__name__)


class StoredSessions:
    """Use it within one event loop."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger, self._lease_s = ledger, lease_s
        self._threads = ThreadPoolExecutor(THREADS, "sessions")
        self._under_way: dict[str, asyncio.Task[Held | None]] = {}
        self._renewals: dict[str, asyncio.Task[None]] = {}
        self._settling: set[asyncio.Task[None]] = set()

    async def take(self, session: HotSession, owner: str, begin: bool = True) -> None:
        """Lease the session, once no other replica has it, and bring the copy up to date. Raises: AgentError."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._step(session, lambda: self._ledger.take(session.id, owner, session.held, begin))
                break
            except Busy:
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
        self._renewals[session.id] = asyncio.create_task(self._renew(session))
        head = _head(session)
        known = {turn.kept.first: turn for turn in session.turns}
        session.turns = await self._turns(session.id, head, known)
        session.owner, session.created_at, session.used_at = head.owner, head.created_at, head.used_at

    async def commit(self, session: HotSession, turn: HotTurn, forget: int) -> Kept:
        """As the store counts it. Raises: AgentError: it does not count."""
        await self._stop_renewing(session)
        held, kept = session.held, turn.kept
        assert held is not None
        await self._step(session, lambda: self._ledger.commit(held, turn.messages, kept.size, kept.ms, forget))
        return _head(session).turns[-1]

    async def look(self, session_id: str, owner: str, hot: HotSession | None) -> HotSession:
        """The session as the store has it now. Raises: NoSession, StoreUnavailable, SessionBroken."""
        for last in (False, True):
            held = await self._ask(lambda: self._ledger.look(session_id, owner))
            known = {turn.kept.first: turn for turn in hot.turns} if hot else {}
            try:
                turns = await self._turns(session_id, held.head, known)
            except SessionBroken:
                if last:
                    raise
                continue  # a turn elsewhere dropped the oldest messages between the two readings
            return HotSession(session_id, owner, held.head.created_at, held.head.used_at, turns)
        raise AssertionError("unreachable")

    async def delete(self, session: HotSession, owner: str) -> None:
        await self.take(session, owner, begin=False)
        await self._stop_renewing(session)
        held = session.held
        assert held is not None
        await self._step(session, lambda: self._ledger.delete(held))

    async def sweep(self) -> None:
        try:
            await self._ask(self._ledger.sweep)
        except AgentError as error:
            logger.warning("code=<%s> | expired sessions are not removed now", error.code)

    def unsettled(self, session: HotSession) -> bool:
        """Whether a request is under way, or the lease still ours."""
        return session.id in self._under_way or session.id in self._renewals or _leased(session)

    def settle(self, session: HotSession, then: Callable[[], object]) -> None:
        """See the last request through, give the lease back, then do `then`; nobody needs to wait for it."""
        task = asyncio.create_task(self._settle(session, then))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """What is under way is seen through, if the store answers."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_DEADLINE_S)
        self._ledger.messages.close()
        self._threads.shutdown(wait=False)

    async def _settle(self, session: HotSession, then: Callable[[], object]) -> None:
        try:
            await self._stop_renewing(session)
            if _leased(session):
                held = session.held
                await self._step(session, lambda: self._ledger.release(held) if held else None)
        except (AgentError, Busy) as error:
            logger.warning("error=<%s> | a session's lease runs out by itself", type(error).__name__)
        finally:
            then()

    async def _renew(self, session: HotSession) -> None:
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            held = session.held
            if held is None or not _leased(session):
                return
            try:
                await self._step(session, lambda held=held: self._ledger.renew(held), drop=False)
            except AgentError as error:  # the commit will tell, if it does not come right before
                logger.warning("code=<%s> | a session's lease was not renewed", error.code)

    async def _stop_renewing(self, session: HotSession) -> None:
        renewal = self._renewals.pop(session.id, None)
        if renewal:
            renewal.cancel()
        if pending := self._under_way.get(session.id):
            await asyncio.wait([pending])

    async def _step(self, session: HotSession, step: Callable[[], Held | None], drop: bool = True) -> None:
        """One change of the session's record. Goes on when nobody waits for it any more."""
        if pending := self._under_way.get(session.id):
            await asyncio.wait([pending])

        async def run() -> Held | None:
            try:
                session.held = await self._ask(step)
            except AgentError:
                if drop:
                    session.forget()  # what is true is in the store
                raise
            return session.held

        task = self._under_way[session.id] = asyncio.create_task(run())
        task.add_done_callback(lambda done: self._done(session.id, done))
        await asyncio.shield(task)

    def _done(self, session_id: str, task: asyncio.Task[Held | None]) -> None:
        if self._under_way.get(session_id) is task:
            del self._under_way[session_id]
        if not task.cancelled():
            task.exception()  # looked at, for the case that nobody waits for it

    async def _turns(self, session_id: str, head: Head, known: dict[int, HotTurn]) -> list[HotTurn]:
        ids = [i for kept in head.turns if kept.first not in known for i in kept.ids]
        read = await self._ask(lambda: self._ledger.messages.read(session_id, ids)) if ids else []
        found = dict(zip(ids, read, strict=True))
        return [
            known[kept.first] if kept.first in known else HotTurn(kept, [found[i] for i in kept.ids])
            for kept in head.turns
        ]

    async def _ask(self, question: Callable[[], T]) -> T:
        """Raises: AgentError, Busy; all that a store raises means that it is out of reach."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        except (AgentError, Busy):
            raise
        except Conflict as error:
            raise StoreUnavailable("it changes faster than it can be read") from error
        except Exception as error:
            # Not what it says: that holds the session's id, which opens the conversation to whoever reads logs.
            logger.warning("error=<%s>, code=<%s> | the sessions' store failed", type(error).__name__, _name_of(error))
            raise StoreUnavailable(_name_of(error)) from error


def _name_of(error: Exception) -> str:
    """S3's own code where there is one: NoSuchBucket says more than ClientError."""
    response = getattr(error.__cause__ or error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _head(session: HotSession) -> Any:
    assert session.held is not None
    return session.held.head


def _leased(session: HotSession) -> bool:
    return session.held is not None and session.held.head.holder != ""
