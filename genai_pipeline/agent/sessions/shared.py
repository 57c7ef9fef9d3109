"""Stored sessions as the event loop uses them: each request to the store runs in a thread, one at a time a session.

A thread cannot be stopped. A request that its caller gave up goes on, and `settle` waits for it before the session's
next turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.sessions.leases import SessionLeases, SessionVersion
from genai_pipeline.agent.sessions.session_errors import Busy, SessionsUnavailable
from genai_pipeline.agent.sessions.session_record import SessionRecord, StoredTurn

T = TypeVar("T")

THREADS = 64
"""Requests to the store at the same time. They mostly wait."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
"""Between two looks at a session that another replica holds."""
RENEWALS_PER_LEASE = 3
CLOSE_DEADLINE_S = 10.0

logger = logging.getLogger(__name__)


@dataclass
class LiveSession:
    """A session in this process.

    Args:
        version: its record, or None if it does not exist yet, or must be read again.
        conversation: the session's own agent; made at its first turn.
        users: requests that use it or wait for it. It stays in memory as long as there are some.
        pending: the last request to the store.
        renewal: the task that renews the lease during a turn.
    """

    id: str
    version: SessionVersion | None = None
    conversation: Any = None
    users: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pending: asyncio.Task[Any] | None = None
    renewal: asyncio.Task[None] | None = None

    @property
    def record(self) -> SessionRecord | None:
        return self.version.record if self.version else None

    @property
    def history(self) -> list[Any]:
        return self.record.history if self.record else []


class SharedSessions:
    """Use it within one event loop.

    Args:
        pause_s: the first and the longest pause between two looks at a session that another replica holds.
    """

    def __init__(
        self, leases: SessionLeases, lease_s: float, pause_s: tuple[float, float] = (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    ) -> None:
        self._leases, self._lease_s, self._pause_s = leases, lease_s, pause_s
        self._threads = ThreadPoolExecutor(THREADS, "sessions")
        self._settling: set[asyncio.Task[None]] = set()

    async def take(self, session: LiveSession, owner: str, create: bool = True) -> None:
        """Lease the session as soon as no other replica holds it, and read it if it changed. Raises: AgentError."""
        pause_s, longest_s = self._pause_s
        while True:
            try:
                await self._change(session, lambda: self._leases.take(session.id, owner, session.version, create))
                break
            except Busy:
                await asyncio.sleep(pause_s)
                pause_s = min(longest_s, 2 * pause_s)
        session.renewal = asyncio.create_task(self._renew(session))

    async def commit(self, session: LiveSession, turn: StoredTurn, forget: int) -> None:
        """Add the turn and give the lease back. Raises: AgentError: the turn does not count."""
        await self._change_last(session, lambda version: self._leases.commit(version, turn, forget))

    async def delete(self, session: LiveSession, owner: str) -> None:
        """Remove the session as soon as no other replica holds it. Raises: AgentError."""
        await self.take(session, owner, create=False)
        await self._change_last(session, self._leases.delete)

    async def look(self, session_id: str, owner: str) -> SessionRecord:
        """Return the session as the store has it now. Raises: NoSession, SessionsUnavailable, SessionBroken."""
        return await self._ask(lambda: self._leases.look(session_id, owner))

    async def sweep(self) -> None:
        try:
            await self._ask(self._leases.sweep)
        except AgentError as error:
            logger.warning("code=<%s> | expired sessions are not removed now", error.code)

    def unsettled(self, session: LiveSession) -> bool:
        """Return whether a request to the store is under way, or this replica still has the lease."""
        under_way = session.pending is not None and not session.pending.done()
        return under_way or session.renewal is not None or _leased(session)

    def settle(self, session: LiveSession, then: Callable[[], object]) -> None:
        """In the background: wait for the last request, give the lease back, then call `then`."""
        task = asyncio.create_task(self._settle(session, then))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Wait for what is under way, if the store answers."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_DEADLINE_S)
        self._threads.shutdown(wait=False)

    async def _settle(self, session: LiveSession, then: Callable[[], object]) -> None:
        try:
            await self._stop_renewing(session)
            if _leased(session):
                await self._change_last(session, self._leases.release)
        except (AgentError, Busy) as error:
            logger.warning("error=<%s> | a session's lease has to run out by itself", type(error).__name__)
        finally:
            then()

    async def _renew(self, session: LiveSession) -> None:
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS_PER_LEASE)
            version = session.version
            if version is None or not _leased(session):
                return
            try:
                await self._change(session, lambda version=version: self._leases.renew(version), keep_on_error=True)
            except AgentError as error:  # the commit finds out whether the lease is really lost
                logger.warning("code=<%s> | a session's lease was not renewed", error.code)

    async def _stop_renewing(self, session: LiveSession) -> None:
        if session.renewal:
            session.renewal.cancel()
            session.renewal = None
        if session.pending:
            await asyncio.wait([session.pending])

    async def _change_last(
        self, session: LiveSession, change: Callable[[SessionVersion], SessionVersion | None]
    ) -> None:
        """Make the change that ends the lease."""
        await self._stop_renewing(session)
        version = session.version
        assert version is not None
        await self._change(session, lambda: change(version))

    async def _change(
        self, session: LiveSession, change: Callable[[], SessionVersion | None], keep_on_error: bool = False
    ) -> None:
        """Make one change of the stored session. It goes on if its caller is cancelled."""
        if session.pending:
            await asyncio.wait([session.pending])

        async def run() -> None:
            try:
                session.version = await self._ask(change)
            except AgentError:
                if not keep_on_error:
                    session.version = None  # only the store knows what is true now
                raise

        session.pending = asyncio.create_task(run())
        session.pending.add_done_callback(lambda task: task.cancelled() or task.exception())  # its caller may be gone
        await asyncio.shield(session.pending)

    async def _ask(self, question: Callable[[], T]) -> T:
        """Raises: AgentError, Busy. Every other error of a store means that the store cannot be reached."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        except (AgentError, Busy):
            raise
        except Exception as error:
            # Not the error's text: it holds the session's id, which opens the conversation to each reader of the log.
            logger.warning("error=<%s>, code=<%s> | the sessions' store failed", type(error).__name__, _name_of(error))
            raise SessionsUnavailable(_name_of(error)) from error


def _name_of(error: Exception) -> str:
    """Return S3's own code if there is one: NoSuchBucket says more than ClientError."""
    response = getattr(error.__cause__ or error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or type(error).__name__)


def _leased(session: LiveSession) -> bool:
    return session.record is not None and session.record.holder != ""
