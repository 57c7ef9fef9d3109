"""Whether a staging still gets anywhere.

Every request has time-outs and a bounded number of tries, but a time-out counts from the last byte: a server that drips
an answer byte by byte is waited for as long as it likes. So a transfer as a whole has a deadline too, which begins anew
with whatever moves.
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
"""Without a byte or a new request, tries included. The longest pause between two tries is 40 s, of silence 60 s."""
MOST_NAMED = 3


class StallDetector:
    """Thread-safe: `reading` is for the threads of a transfer, `check` for the one that waits for them."""

    def __init__(self, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter, self._clock = meter, clock
        self._reads: Counter[str] = Counter()
        self._seen, self._since = meter.moved(), clock()
        self._lock = threading.Lock()

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """While a thread waits for the source."""
        with self._lock:
            self._reads[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._reads[path] -= 1

    def check(self) -> None:
        """Raises: HubUnavailable, StoreUnavailable: nothing moved for so long; says what was waited for."""
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
            "Check that both are well, then run this again: what is verified already stays staged.",
        )


def _named(paths: list[str]) -> str:
    more = len(paths) - MOST_NAMED
    return ", ".join(sorted(paths)[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
