"""Wait for a condition, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

START_DEADLINE_S = 60


def until(condition: Callable[[], T], what: str, deadline_s: float = START_DEADLINE_S) -> T:
    """The condition's first true value. Raises TimeoutError that names what did not come."""
    end, pause = time.monotonic() + deadline_s, threading.Event()
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} was not there within {deadline_s:.0f} s")
        pause.wait(0.1)
    return value
