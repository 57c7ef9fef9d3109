"""Give up a kept connection in time. A Service's selector moves new connections only.

So a client that keeps its connection would stay with a replaced release for as long as that one is warm.
"""

from __future__ import annotations

import time
from collections.abc import Callable

ClientAddress = tuple[str, int]
"""The client's end of a connection: host and port."""

MOST_S = 15.0
"""The first answer after so long closes the connection. A new one costs a client a millisecond."""
FORGOTTEN_AFTER_S = 90.0
"""Longer than the server keeps a connection without requests (server.py, KEEP_ALIVE_S)."""


class ConnectionAges:
    """Knows connections by their clients' ends. Use it within one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[ClientAddress, tuple[float, float]] = {}
        """Client's end -> its first and its last request. The longest unused one comes first."""

    def is_old(self, client: ClientAddress | None) -> bool:
        """Note a request, and return whether its answer should close the connection."""
        if client is None:
            return False
        now = self._clock()
        self._forget(now)
        first, _ = self._seen.pop(client, (now, now))
        if now - first >= MOST_S:
            return True
        self._seen[client] = first, now
        return False

    def __len__(self) -> int:
        return len(self._seen)

    def _forget(self, now: float) -> None:
        while self._seen:
            client, (_, last) = next(iter(self._seen.items()))
            if now - last < FORGOTTEN_AFTER_S:
                return
            del self._seen[client]
