"""Sessions by id: few enough to fit into memory, forgotten when idle, never while in use."""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
"""Whoever knows an id reads the conversation: short ones, which people guess and share, are refused."""


def new_session_id() -> str:
    """192 random bits."""
    return secrets.token_urlsafe(24)


@dataclass
class _Entry(Generic[T]):
    value: T
    last_used: float
    users: int = 0


class Sessions(Generic[T]):
    """Least recently used goes first. Safe to use from many threads.

    Args:
        make: builds a new session's value.
        max_count: at most so many are kept; must not be below the number of simultaneous users.
        ttl_s: an idle session is forgotten after this.
    """

    def __init__(
        self, make: Callable[[], T], max_count: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make, self._max_count, self._ttl_s, self._clock = make, max_count, ttl_s, clock
        self._entries: OrderedDict[str, _Entry[T]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @contextmanager
    def use(self, session_id: str) -> Iterator[T]:
        """The session's value, new if there is none; it stays while it is used."""
        entry = self._take(session_id)
        try:
            yield entry.value
        finally:
            with self._lock:
                entry.users -= 1
                entry.last_used = self._clock()

    def _take(self, session_id: str) -> _Entry[T]:
        with self._lock:
            self._forget_expired()
            entry = self._entries.get(session_id)
            if entry is None:
                self._forget_oldest_beyond(self._max_count - 1)
                entry = self._entries[session_id] = _Entry(self._make(), self._clock())
            entry.users += 1
            entry.last_used = self._clock()
            self._entries.move_to_end(session_id)
            return entry

    def _forget_expired(self) -> None:
        horizon = self._clock() - self._ttl_s
        for session_id in [k for k, e in self._entries.items() if not e.users and e.last_used < horizon]:
            del self._entries[session_id]

    def _forget_oldest_beyond(self, count: int) -> None:
        idle = [k for k, e in self._entries.items() if not e.users]
        for session_id in idle[: max(0, len(self._entries) - count)]:
            del self._entries[session_id]
