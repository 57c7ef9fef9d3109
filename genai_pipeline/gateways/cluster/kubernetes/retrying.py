"""How long and how often a call is repeated: a deadline for all tries together, back-off between them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

FIRST_PAUSE_S, PAUSE_MAX_S = 0.1, 2.0


class Deadline:
    """A point in time that every call of one wait shares. `clock` in seconds, monotonic."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = seconds
        self._end = clock() + seconds

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - self._clock())

    @property
    def over(self) -> bool:
        return self.left_s <= 0


class Backoff:
    """Pauses that double, with jitter, so that many clients do not come back together."""

    def __init__(self, first_s: float = FIRST_PAUSE_S, most_s: float = PAUSE_MAX_S) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._tries = 0

    def reset(self) -> None:
        self._tries = 0

    def next_s(self, asked_s: float | None = None) -> float:
        """The next pause; what the server asked for where that is longer."""
        pause = min(self._most_s, self._first_s * 2**self._tries) * random.uniform(0.5, 1.0)
        self._tries += 1
        return max(pause, asked_s or 0.0)
