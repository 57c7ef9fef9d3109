"""A circuit breaker: an endpoint that fails is left out until it has proven that it answers again.

Own code, because the libraries look at calls: pybreaker knows no asyncio, purgatory and aiobreaker let a user's
request be the one that finds out. Here nobody waits for a dead endpoint: half-open is asked by a probe (endpoint.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]
STATES: tuple[State, ...] = ("closed", "open", "half_open")
WINDOW = 20
"""Outcomes that the share of failures is taken of; with fewer it says nothing."""


class Breaker:
    """Closed lets requests through, open does not, half-open lets one probe through. Use it within one event loop.

    Args:
        failures: so many in a row open it.
        share: so large a part of the last `WINDOW` outcomes opens it too.
        pause_s: seconds from opening to a probe, and from one that failed to the next.
        on_change: called with the new state.
    """

    def __init__(
        self,
        failures: int,
        share: float,
        pause_s: float,
        on_change: Callable[[State], None] = lambda state: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures, self._share, self._pause_s = failures, share, pause_s
        self._on_change, self._clock = on_change, clock
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._in_a_row = 0
        self._open_until = 0.0
        self.state: State = "closed"

    @property
    def left_s(self) -> float:
        """Seconds until the next probe."""
        return max(0.0, self._open_until - self._clock())

    def succeeded(self) -> None:
        """A completion, or a probe, came to its end. One that was on its way when it opened closes nothing."""
        if self.state == "half_open":
            self._recent.clear()
            self._become("closed")
        self._in_a_row = 0
        self._recent.append(True)

    def failed(self) -> None:
        if self.state == "half_open":
            self._open()
        elif self.state == "closed":
            self._in_a_row += 1
            self._recent.append(False)
            many = len(self._recent) == WINDOW and self._recent.count(False) >= self._share * WINDOW
            if many or self._in_a_row >= self._failures:
                self._open()

    def half_open(self) -> None:
        """The pause is over: a probe begins."""
        self._become("half_open")

    def _open(self) -> None:
        self._open_until = self._clock() + self._pause_s
        self._become("open")

    def _become(self, state: State) -> None:
        self.state = state
        self._on_change(state)
