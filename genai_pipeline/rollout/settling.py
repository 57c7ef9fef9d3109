"""Wait until a question gets the same good answer several times in a row, or until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable


def why_unsettled(
    question: Callable[[], str], in_a_row: int, poll_s: float, deadline_s: float, sleep: Callable[[float], None]
) -> str:
    """Ask until `question` returned an empty string `in_a_row` times; empty then, else the last reason.

    The time that an answer takes counts: something that hangs must not stretch the deadline.
    """
    reason, agreeing, waited = "nothing answered", 0, 0.0
    while waited < deadline_s:
        asked = time.monotonic()
        reason = question()
        agreeing = 0 if reason else agreeing + 1
        if agreeing == in_a_row:
            return ""
        sleep(poll_s)
        waited += max(poll_s, time.monotonic() - asked)
    return reason or "it did not hold long enough"
