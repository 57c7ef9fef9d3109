"""Ask a question until it gets a good answer several times in a row, or until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from genai_pipeline.core.errors import Refused, Unavailable

REACHABLE_DEADLINE_S, REACHABLE_POLL_S = 15.0, 0.1


def pause(seconds: float) -> None:
    """Sleep, by whatever `time.sleep` is by then: a default that names it keeps the one of the import."""
    time.sleep(seconds)


def why_unsettled(
    question: Callable[[], str], in_a_row: int, poll_s: float, deadline_s: float, sleep: Callable[[float], None]
) -> str:
    """Ask until `question` returns an empty string `in_a_row` times.

    The time that an answer takes counts: something that hangs must not stretch the deadline.

    Args:
        question: returns why the state is not the wanted one, or an empty text if it is.
        in_a_row: good answers that are needed one after another.
        poll_s, deadline_s: seconds between two questions, and for all of them.
    Returns: Empty, or the last reason when the deadline passed.
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


def wait_reachable(ask: Callable[[], object], sleep: Callable[[float], None] = pause) -> None:
    """Ask a Service whose pods are ready until it passes a question on.

    Nodes learn that a pod is ready within about a second, and refuse connections to its Service until then. If it does
    not answer by the deadline, nothing is raised here: the checks that follow report it with evidence.
    """

    def why_not() -> str:
        try:
            with suppress(Refused):  # a refusal is an answer too
                ask()
        except Unavailable as error:
            return str(error)
        return ""

    why_unsettled(why_not, 1, REACHABLE_POLL_S, REACHABLE_DEADLINE_S, sleep)
