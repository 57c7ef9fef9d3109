"""How long to wait before a request is sent again. The arithmetic of every gateway that retries within one call."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 30.0
_LEFT = re.compile(r"\b(?:r|remaining)=(\d+)")
_RESET = re.compile(r"\b(?:t|reset)=(\d+)")


def backoff_s(failures: int, first_s: float, asked_s: float | None = None, longest_s: float = LONGEST_WAIT_S) -> float:
    """Return the seconds to wait before the next try: twice as long after each failure, with jitter.

    The jitter keeps many threads from coming back at the same moment.

    Args:
        failures: tries that failed in a row, from 1.
        first_s: the wait after the first failure.
        asked_s: what the server asked for (`retry_after_s`); it takes the place of the doubling.
        longest_s: upper bound before the jitter, which adds at most `first_s` and a quarter of the wait.
    """
    wait = min(longest_s, first_s * 2 ** (failures - 1) if asked_s is None else asked_s)
    return wait + random.uniform(0, first_s + wait / 4)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds from now that a server asks to wait, or None where it names none.

    Sources: RFC 9110, 10.2.3 (`Retry-After`: a number of seconds, or a date). IETF draft "RateLimit header fields for
    HTTP" (`RateLimit: "policy";r=0;t=60`: nothing is left for 60 s; the public model hub sends only this one).
    """
    value = headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return max(_spent(headers), default=None)


def _spent(headers: Mapping[str, str]) -> Iterator[float]:
    """Yield the seconds of each policy of which nothing is left. Its parameters may come in any order.

    Versions of the draft before the eighth write `RateLimit: limit=100, remaining=0, reset=50`, or a header for each.
    """
    field = headers.get("RateLimit", "")
    old = f"remaining={headers.get('RateLimit-Remaining', '')}, reset={headers.get('RateLimit-Reset', '')}"
    for policy in [old, *([field] if "remaining=" in field else field.split(","))]:
        left, reset = _LEFT.search(policy), _RESET.search(policy)
        if left and reset and int(left[1]) == 0:
            yield float(reset[1])
