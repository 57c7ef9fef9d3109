"""Mark the places where a test may end the process. In production each of them does nothing.

`crash_point("staging.before_manifest")` stands at each state transition. GENAI_CRASH_AT in the environment arms one:

    staging.before_manifest               end there by SIGKILL: no clean-up runs
    staging.before_manifest:SIGTERM       end there by SIGTERM, as Kubernetes and Dagster do
    staging.before_manifest:exception     raise an exception there, like a bug
    staging.part_sent:SIGKILL#3           end when this process passes the place for the third time

The idempotence of every step is tested against all three.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter

ARMED_BY = "GENAI_CRASH_AT"
_ARMED = re.compile(r"(?P<name>[\w.]+)(?::(?P<kind>SIGKILL|SIGTERM|exception))?(?:#(?P<nth>[1-9]\d*))?")

_passed: Counter[str] = Counter()
_lock = threading.Lock()


class Crash(Exception):
    """A test asked for an exception here. No code catches it by name."""


def crash_point(name: str) -> None:
    """End the process here if a test armed this place.

    Args:
        name: name of the place, `room.transition`.
    Raises:
        Crash: the test asked for an exception.
        ValueError: GENAI_CRASH_AT does not have the form above.
    """
    armed = os.environ.get(ARMED_BY)
    if not armed:
        return
    asked = _ARMED.fullmatch(armed)
    if not asked:
        raise ValueError(f"{ARMED_BY}={armed!r} is not <name>[:SIGKILL|SIGTERM|exception][#<n>].")
    if asked["name"] != name or not _is_turn(name, int(asked["nth"] or 1)):
        return
    if asked["kind"] == "exception":
        raise Crash(name)
    os.kill(os.getpid(), signal.SIGTERM if asked["kind"] == "SIGTERM" else signal.SIGKILL)


def _is_turn(name: str, nth: int) -> bool:
    with _lock:
        _passed[name] += 1
        return _passed[name] == nth
