"""How hard a server may be asked: requests under way at once, waits between tries, and what it says of itself.

Both sides of a staging use it: the hub that is read, the store that is written to.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 30.0
ONE_CUT_PER_S = 1.0
"""Answers of one busy moment come in a crowd, and count as one."""


class Pace:
    """Requests that may be under way at once: half as many when the server says that it is busy, more with successes.

    Additive increase, multiplicative decrease, as TCP does. Thread-safe.

    Args:
        most: the upper bound, and what it starts with.
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
        """Wait until one more request may be sent; leaving it without an error is a success."""
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
        """The server asked for less (429, 503, SlowDown)."""
        with self._free:
            now = self._clock()
            if now - self._cut_at >= ONE_CUT_PER_S:
                self._cut_at = now
                self._limit = max(1.0, self._limit / 2)


def wait_s(failures: int, first_s: float, asked_s: float | None = None) -> float:
    """Seconds until the next try: what the server asked for and a little more, else longer each time.

    Never as long as the thread beside us waits.
    """
    wait = min(LONGEST_WAIT_S, first_s * 2 ** (failures - 1) if asked_s is None else asked_s)
    return wait + random.uniform(0, first_s + wait / 4)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds from now. Source: RFC 9110, 10.2.3: a number of seconds, or a date."""
    value = headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
