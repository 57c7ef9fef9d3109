"""Detects a staging in which nothing moves any more.

Every request has time-outs and a limited number of tries, but a time-out counts from the last byte. A server that sends
single bytes could hold a transfer for ever. So the whole transfer has a deadline too; it restarts whenever a byte moves
or a request is sent.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from genai_pipeline.core.errors import HubUnavailable, StoreUnavailable
from genai_pipeline.staging.meter import Meter

STALLED_AFTER_S = 600.0
"""Without a byte or a request. The longest pause between two tries is 40 s, the longest silence of a read 60 s."""
MOST_NAMED = 3


class StallDetector:
    """Thread-safe. The threads of a transfer use `reading`; the thread that waits for them uses `check`."""

    def __init__(self, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter, self._clock = meter, clock
        self._reads: Counter[str] = Counter()
        self._seen, self._since = meter.moved(), clock()
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Mark the time in which a thread waits for the source."""
        with self._lock:
            self._reads[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._reads[path] -= 1

    def check(self) -> None:
        """Raise HubUnavailable or StoreUnavailable if nothing moved for too long, and say what was waited for."""
        moved = self._meter.moved()
        if moved != self._seen:
            self._seen, self._since = moved, self._clock()
        elif self._clock() - self._since > STALLED_AFTER_S:
            raise self._diagnosis()

    def _diagnosis(self) -> HubUnavailable | StoreUnavailable:
        with self._lock:
            read = [path for path, count in self._reads.items() if count]
        stored = [f.path for f in self._meter.state().files if f.began_s is not None and f.ended_s is None]
        waits = [f"the source sends nothing of {_named(read)}"] if read else []
        if rest := [path for path in stored if path not in read]:
            waits.append(f"the store does not go on with {_named(rest)}")
        kind = HubUnavailable if read else StoreUnavailable
        return kind(
            f"Nothing moved for {STALLED_AFTER_S / 60:.0f} minutes: {'; '.join(waits) or 'nothing is under way'}.",
            "Check both servers, then run this again. Files that are already verified stay staged.",
        )


def _named(paths: list[str]) -> str:
    more = len(paths) - MOST_NAMED
    return ", ".join(sorted(paths)[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
