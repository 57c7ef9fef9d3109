"""The protocol by which replicas share stored sessions: take a lease, commit one turn, give the lease back.

Lease and turns are in the same object, and every step is one conditional write of it. So a turn counts as a whole or
not at all, whenever a process is killed, and a replica that lost its lease cannot write. Clocks only decide how long
the lease of a dead replica makes others wait. All methods block: call them from worker threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from genai_pipeline.agent.sessions.session_errors import Busy, Conflict, NoSession, TakenOver
from genai_pipeline.agent.sessions.session_record import SessionRecord, StoredTurn
from genai_pipeline.agent.sessions.session_store import SessionStore

T = TypeVar("T")

_ATTEMPTS = 5
"""Attempts to take a session while other replicas write it. Each attempt reads the session again."""
_SWEEP_MARGIN_S = 60.0
"""The store's clock may differ by so much. It decides which objects are read; our clock decides which ones go."""


@dataclass(frozen=True)
class SessionVersion:
    """A record as it was last read or written, and the store's tag of that version."""

    id: str
    record: SessionRecord
    tag: str


class SessionLeases:
    """The stored sessions as one replica works on them.

    Args:
        holder: the name of this replica; no other replica has it.
        ttl_s: a session ends when it was not used for so long.
        lease_s: how long a lease lasts unless it is renewed.
        clock: returns the Unix time.
    """

    def __init__(
        self, store: SessionStore, holder: str, ttl_s: float, lease_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._holder = store, holder
        self._ttl_s, self._lease_s, self._clock = ttl_s, lease_s, clock

    def look(self, session_id: str, owner: str) -> SessionRecord:
        """Return the session as it is now. Raises: NoSession, SessionBroken."""
        found = self._read(session_id)
        if found is None or self._expired(found.record) or found.record.owner != owner or not found.record.turns:
            raise NoSession
        return found.record

    def take(
        self, session_id: str, owner: str, known: SessionVersion | None = None, create: bool = True
    ) -> SessionVersion:
        """Lease the session; create it if it does not exist and `create` is true.

        Args:
            known: the version that this replica saw last. It saves a read if no other replica has written since.
        Raises: Busy: another replica has the lease. NoSession: it does not exist, or it is another caller's.
        """
        for attempt in range(_ATTEMPTS):
            found = known if known and not attempt else self._read(session_id)
            record = found.record if found and not self._expired(found.record) else None
            if (record is None and not create) or (record is not None and record.owner != owner):
                raise NoSession
            if found and self._held(found.record) and found.record.holder != self._holder:
                raise Busy
            now = self._clock()
            leased = self._leased(record or SessionRecord(owner, now, now))
            with suppress(Conflict):
                return self._write(session_id, leased, found.tag if found else None)
        raise Busy

    def renew(self, version: SessionVersion) -> SessionVersion:
        """Prolong the lease. Raises: TakenOver."""
        return self._update(version, self._leased(version.record))

    def commit(self, version: SessionVersion, turn: StoredTurn, forget: int) -> SessionVersion:
        """Add the turn, drop the `forget` oldest turns and give the lease back, in one write.

        Raises: TakenOver: the turn does not count.
        """
        try:
            return self._update(version, version.record.with_turn(turn, forget))
        except TakenOver:
            found = self._read(version.id)  # the write may have happened although its answer was lost
            if found is None or turn.id not in [stored.id for stored in found.record.turns]:
                raise
            return found

    def release(self, version: SessionVersion) -> SessionVersion | None:
        """Give the lease back unchanged; remove a session that never had a turn. Raises: TakenOver."""
        if version.record.turns:
            return self._update(version, version.record.released())
        return self.delete(version)

    def delete(self, version: SessionVersion) -> None:
        """Remove a session under its lease. Raises: TakenOver: the session is not deleted."""
        self._under_lease(version, lambda tag: self._remove(version.id, tag))

    def sweep(self) -> int:
        """Remove expired sessions; return how many."""
        removed = 0
        margin_s = min(_SWEEP_MARGIN_S, self._ttl_s)
        for session_id in self._store.unwritten_since(self._clock() - self._ttl_s - margin_s):
            found = self._read(session_id)
            if found and self._expired(found.record) and not self._held(found.record):
                with suppress(Conflict):  # another replica uses it again, or sweeps too
                    self._remove(session_id, found.tag)
                    removed += 1
        return removed

    def _update(self, version: SessionVersion, record: SessionRecord) -> SessionVersion:
        return self._under_lease(version, lambda tag: self._write(version.id, record, tag))

    def _under_lease(self, version: SessionVersion, change: Callable[[str], T]) -> T:
        """Make a change; try again if only our own renewal was written meanwhile. Raises: TakenOver."""
        try:
            return change(version.tag)
        except Conflict as error:
            found = self._read(version.id)
            if found is None or found.record.holder != self._holder:
                raise TakenOver from error
            try:
                return change(found.tag)
            except Conflict:
                raise TakenOver from error

    def _read(self, session_id: str) -> SessionVersion | None:
        found = self._store.read(session_id)
        return found and SessionVersion(session_id, SessionRecord.from_bytes(session_id, found[0]), found[1])

    def _write(self, session_id: str, record: SessionRecord, tag: str | None) -> SessionVersion:
        """Raises: Conflict: with another write than this one, whose answer may have been lost."""
        body = record.to_bytes()
        try:
            return SessionVersion(session_id, record, self._store.write(session_id, body, tag))
        except Conflict:
            found = self._store.read(session_id)
            if found is None or found[0] != body:
                raise
            return SessionVersion(session_id, record, found[1])

    def _remove(self, session_id: str, tag: str) -> None:
        """Raises: Conflict: with a write; a session that is gone already is no conflict."""
        try:
            self._store.remove(session_id, tag)
        except Conflict:
            if self._store.read(session_id) is not None:
                raise

    def _leased(self, record: SessionRecord) -> SessionRecord:
        return replace(record, holder=self._holder, held_until=self._clock() + self._lease_s)

    def _expired(self, record: SessionRecord) -> bool:
        return self._clock() > record.used_at + self._ttl_s

    def _held(self, record: SessionRecord) -> bool:
        return record.holder != "" and self._clock() < record.held_until
