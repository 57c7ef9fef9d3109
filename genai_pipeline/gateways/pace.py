"""How many requests may be under way at a server at once: fewer when it says that it is busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ONE_CUT_PER_S = 1.0
"""The answers of one busy moment count as one."""


class Pace:
    """A limit on the requests under way: half as many when the server says that it is busy, more with each success.

    Additive increase, multiplicative decrease, as TCP does. Thread-safe.

    Args:
        most: the upper bound, with which it starts.
        clock: seconds, monotonic.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._limit = most, float(most)
        self._clock, self._cut_at = clock, float("-inf")
        self._under_way = 0
        self._free = threading.Condition()

    @property
    def limit(self) -> int:
        return int(self._limit)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until one more request may be sent. Leaving the block without an error counts as a success."""
        with self._free:
            while self._under_way >= self.limit:
                self._free.wait()
            self._under_way += 1
        try:
            yield
            with self._free:
                self._limit = min(self._most, self._limit + 1 / self._limit)
        finally:
            with self._free:
                self._under_way -= 1
                self._free.notify_all()

    def busy(self) -> None:
        """Halve the limit, because the server asked for less (429, 503, SlowDown)."""
        with self._free:
            now = self._clock()
            if now - self._cut_at >= ONE_CUT_PER_S:
                self._cut_at = now
                self._limit = max(1.0, self._limit / 2)
