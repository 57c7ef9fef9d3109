"""Wait until a question gets the same good answer several times in a row, or any answer at all, or until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from genai_pipeline.core.errors import Refused, Unavailable

REACHABLE_DEADLINE_S, REACHABLE_POLL_S = 15.0, 0.1


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


def wait_reachable(ask: Callable[[], object], sleep: Callable[[float], None] = time.sleep) -> None:
    """Ask a Service whose pods are ready until it lets a question through.

    Nodes follow a pod's readiness within about a second, and refuse connections to its Service until then. One that
    does not answer by the deadline is left to the checks, which say so with evidence.
    """

    def why_not() -> str:
        try:
            with suppress(Refused):  # an answer, if not the one that was hoped for
                ask()
        except Unavailable as error:
            return str(error)
        return ""

    why_unsettled(why_not, 1, REACHABLE_POLL_S, REACHABLE_DEADLINE_S, sleep)
