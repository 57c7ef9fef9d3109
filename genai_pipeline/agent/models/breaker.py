"""A circuit breaker: an endpoint that fails is not asked until a probe has shown that it answers again.

It is own code because pybreaker has no asyncio, and purgatory and aiobreaker test an endpoint with a user's request.
Here no user waits for a dead endpoint: only a probe (model_endpoint.py) asks it while the breaker is half-open.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]
STATES: tuple[State, ...] = ("closed", "open", "half_open")
WINDOW = 20
"""The share of failures is computed over so many outcomes, and not before there are so many."""


class Breaker:
    """Closed passes requests, open refuses them, half-open passes one probe. Use it within one event loop.

    Args:
        failures: so many failures in a row open it.
        share: this share of failures in the last `WINDOW` outcomes opens it too.
        pause_s: seconds from opening to the first probe, and from a failed probe to the next.
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
        """The seconds until the next probe."""
        return max(0.0, self._open_until - self._clock())

    def succeeded(self) -> None:
        """Count a completion or a probe that ended well. One that began before the breaker opened does not close it."""
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
        """Begin a probe after the pause."""
        self._become("half_open")

    def _open(self) -> None:
        self._open_until = self._clock() + self._pause_s
        self._become("open")

    def _become(self, state: State) -> None:
        self.state = state
        self._on_change(state)
