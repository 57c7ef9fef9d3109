"""Sessions in a store that replicas share: one of them at a time works on a session, and a turn counts as a whole.

take (lease) -> messages -> commit (they count, lease given back). The truth is the head; every step is a conditional
write of it, so that whoever lost the lease writes nothing that counts. Clocks decide only how long a dead replica's
lease holds others up. Blocking: called from worker threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.agent.sessions.errors import Busy, Conflict, NoSession, TakenOver
from genai_pipeline.agent.sessions.head import IDS_PER_LEASE, Head, Kept
from genai_pipeline.agent.sessions.heads import Heads
from genai_pipeline.agent.sessions.messages import Messages

logger = logging.getLogger(__name__)

_ATTEMPTS = 5
"""Of a step that meets others' writes; each time it reads again what is true now."""
_SWEEP_MARGIN_S = 60.0
"""The store's clock, which may differ by so much, decides which records are looked at; ours whether they go."""


@dataclass(frozen=True)
class Held:
    """A head as it was written or read last, and the tag of that version."""

    session_id: str
    head: Head
    tag: str


class Ledger:
    """Args:
    holder: the name of this replica, which no other one has.
    """

    def __init__(
        self,
        heads: Heads,
        messages: Messages,
        holder: str,
        ttl_s: float,
        lease_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._heads, self.messages, self._holder = heads, messages, holder
        self._ttl_s, self._lease_s, self._clock = ttl_s, lease_s, clock

    def look(self, session_id: str, owner: str) -> Held:
        """The session as it is now. Raises: NoSession."""
        held = self._read(session_id)
        if held is None or self._over(held.head) or held.head.owner != owner or not held.head.turns:
            raise NoSession
        return held

    def take(self, session_id: str, owner: str, known: Held | None, begin: bool = True) -> Held:
        """The session, leased; a new one if there is none and `begin`.

        Args:
            known: as this replica saw it last, which saves reading where nobody else has written since.
        Raises: Busy: another replica has it. NoSession: it is another caller's.
        """
        for attempt in range(_ATTEMPTS):
            held = known if known and not attempt else self._read(session_id)
            with suppress(Conflict):
                if held is None:
                    if not begin:
                        raise NoSession
                    return self._write(session_id, self._new(owner, 0), None)
                if not self._over(held.head) and held.head.owner != owner:
                    raise NoSession
                if self._held(held.head) and held.head.holder != self._holder:
                    raise Busy
                if not self._over(held.head):
                    return self._write(session_id, self._leased(held.head), held.tag)
                gone = self._erase(held)
                if not begin:
                    self._forget(gone)
                    raise NoSession
                return self._write(session_id, self._new(owner, gone.head.epoch), gone.tag)
        raise Busy

    def renew(self, held: Held) -> Held:
        """Keep the lease. Raises: TakenOver."""
        return self._update(held, replace(held.head, held_until=self._clock() + self._lease_s))

    def commit(self, held: Held, messages: Sequence[Any], size: int, ms: Sequence[float], forget: int) -> Held:
        """The turn counts, the `forget` oldest ones no longer do, and the lease is given back.

        Raises: TakenOver: nothing of it counts.
        """
        first, begin = held.head.epoch * IDS_PER_LEASE, not held.head.turns
        self.messages.write(held.session_id, first, messages, begin)
        now = self._clock()
        kept = Kept(now, first, len(messages), size, tuple(ms))
        counting = held.head.released(turns=(*held.head.turns[forget:], kept), used_at=now)
        try:
            done = self._update(held, counting)
        except TakenOver:
            found = self._read(held.session_id)  # it may count, with the answer that said so lost
            if found is None or kept not in found.head.turns:
                raise
            done = found
        self._drop(held.session_id, [i for turn in held.head.turns[:forget] for i in turn.ids])
        return done

    def release(self, held: Held) -> Held | None:
        """Give the lease back with nothing changed; a session that never had a turn is gone. Raises: TakenOver."""
        if not held.head.turns:
            return self.delete(held)
        return self._update(held, held.head.released())

    def delete(self, held: Held) -> None:
        """Raises: TakenOver: somebody else has it, and it is not deleted."""
        with _under_lease():
            self._forget(self._erase(held))

    def sweep(self) -> int:
        """Remove what has expired; how many sessions that were."""
        removed = 0
        margin_s = min(_SWEEP_MARGIN_S, self._ttl_s)
        for session_id in self._heads.unused_since(self._clock() - self._ttl_s - margin_s):
            held = self._read(session_id)
            if held and self._over(held.head) and not self._held(held.head):
                with suppress(Conflict):  # in use again, or swept by another replica
                    self._forget(self._erase(held))
                    removed += 1
        return removed

    def _read(self, session_id: str) -> Held | None:
        found = self._heads.read(session_id)
        return found and Held(session_id, Head.from_bytes(session_id, found[0]), found[1])

    def _write(self, session_id: str, head: Head, tag: str | None) -> Held:
        """Raises: Conflict: and not with our own write, whose answer was lost."""
        try:
            return Held(session_id, head, self._heads.write(session_id, head.to_bytes(), tag))
        except Conflict:
            found = self._read(session_id)
            if found is None or found.head != head:
                raise
            return found

    def _update(self, held: Held, head: Head) -> Held:
        """Write under a lease of ours, which a renewal may have written anew without our knowing."""
        with _under_lease():
            try:
                return self._write(held.session_id, head, held.tag)
            except Conflict:
                found = self._read(held.session_id)
                if found is None or (found.head.holder, found.head.epoch) != (self._holder, head.epoch):
                    raise
                return self._write(held.session_id, head, found.tag)

    def _drop(self, session_id: str, ids: Sequence[int]) -> None:
        """They count no more; if they cannot be erased now, they go with the session."""
        try:
            if ids:
                self.messages.erase(session_id, ids)
        except Exception as error:
            logger.warning("error=<%s> | old messages of a session are left over", type(error).__name__)

    def _erase(self, held: Held) -> Held:
        """Marked first, so that a kill in between leaves a session that is gone, and work for whoever finds it."""
        marked = self._write(held.session_id, replace(self._leased(held.head), deleted=True, turns=()), held.tag)
        self.messages.erase_through(held.session_id, marked.head.epoch)
        return marked

    def _forget(self, marked: Held) -> None:
        try:
            self._heads.remove(marked.session_id, marked.tag)
        except Conflict:
            if self._read(marked.session_id) is not None:
                raise

    def _new(self, owner: str, epoch: int) -> Head:
        """Epochs begin with the clock: a session that begins again under its id never numbers as the one before."""
        now = self._clock()
        return self._leased(Head(owner, now, now, max(epoch, int(now * 1000))))

    def _leased(self, head: Head) -> Head:
        return head.leased(self._holder, self._clock() + self._lease_s)

    def _over(self, head: Head) -> bool:
        return head.deleted or self._clock() > head.used_at + self._ttl_s

    def _held(self, head: Head) -> bool:
        return head.holder != "" and self._clock() < head.held_until


@contextmanager
def _under_lease() -> Iterator[None]:
    """A conflict under a lease means that the lease ran out."""
    try:
        yield
    except Conflict as error:
        raise TakenOver from error
