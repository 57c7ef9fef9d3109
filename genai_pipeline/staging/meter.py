"""Measures how far a staging is, for Dagster, the terminal and the cost estimate.

The threads of a staging report to a `Meter`. Observers get a frozen `StagingProgress`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

OBSERVE_EVERY_S = 0.25
SAY_EVERY_S = 2.0
MOST_SAMPLES = 600
MIB = 1024 * 1024


class TransferMethod(StrEnum):
    """How the bytes of a file get to the staged model."""

    KEPT = "kept"
    COPIED = "copied"
    STREAMED = "streamed"


@dataclass(frozen=True)
class FileProgress:
    """One file. `began_s` and `ended_s` are seconds since the staging began; None before the event."""

    path: str
    size: int
    how: TransferMethod
    bytes_done: int = 0
    began_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True)
class ThroughputSample:
    """A point of the throughput over time: the bytes so far, `at_s` seconds after the start."""

    at_s: float
    bytes_from_source: int
    bytes_done: int


@dataclass(frozen=True)
class StagingProgress:
    """A staging at one moment.

    Attributes:
        bytes_from_source: bytes read from the source; those that were read twice count twice.
        bytes_copied, bytes_kept: bytes of the files that the store copied by itself, or had already.
        requests: requests by operation of S3 (``UploadPart``, ``CopyObject``, …), retries included; ``source`` counts
            the reads of the source.
        samples: the throughput so far, thinned out to at most MOST_SAMPLES points.
        finished: the manifest is written; no report follows.
    """

    model: str
    revision: str
    elapsed_s: float
    files: tuple[FileProgress, ...]
    bytes_from_source: int
    bytes_copied: int
    bytes_kept: int
    requests: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[ThroughputSample, ...] = ()
    finished: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def bytes_done(self) -> int:
        return sum(file.bytes_done for file in self.files)

    @property
    def files_done(self) -> int:
        return sum(file.ended_s is not None for file in self.files)

    @property
    def bytes_per_s(self) -> float:
        """The mean rate of the whole staging so far."""
        return self.bytes_done / max(self.elapsed_s, 1e-3)


Observer = Callable[[StagingProgress], None]


class Meter:
    """Collects the reports of a staging's threads. Thread-safe; observers are called one at a time.

    Args:
        planned: (path, size, how) of every file.
        say: called with a line at most every two seconds, and once at the end.
        observe: called with the state at most four times a second, and once at the end.
        requests: returns the store's count of requests by operation; `before` is the count at the beginning.
    """

    def __init__(
        self,
        model: str,
        revision: str,
        planned: Sequence[tuple[str, int, TransferMethod]],
        say: Callable[[str], None] = lambda _: None,
        observe: Observer = lambda _: None,
        requests: Callable[[], Mapping[str, int]] = dict,
        before: Mapping[str, int] | None = None,
    ) -> None:
        self._model, self._revision = model, revision
        self._files = {path: FileProgress(path, size, how) for path, size, how in planned}
        self._say, self._observe, self._requests = say, observe, requests
        self._from_source = self._done = self._files_done = self._source_requests = 0
        self._before = Counter(requests() if before is None else before)
        self._started = time.monotonic()
        self._said, self._observed = self._started, float("-inf")
        self._samples: list[ThroughputSample] = []
        self._sample_every_s = OBSERVE_EVERY_S
        self._lock = threading.Lock()

    def asked_source(self) -> None:
        with self._lock:
            self._source_requests += 1

    def read(self, count: int) -> None:
        """Add `count` bytes that came from the source."""
        with self._lock:
            self._from_source += count

    def begin(self, path: str, how: TransferMethod) -> None:
        """Start a file, or start it again from scratch, maybe with another method than planned."""
        with self._lock:
            old = self._files[path]
            self._done -= old.bytes_done
            self._files[path] = FileProgress(path, old.size, how, 0, self._elapsed())

    def advance(self, path: str, count: int) -> None:
        """Add `count` bytes of a file that are in the store now."""
        with self._lock:
            old = self._files[path]
            done = min(old.size, old.bytes_done + count)
            self._done += done - old.bytes_done
            self._files[path] = FileProgress(path, old.size, old.how, done, old.began_s)
        self._report()

    def end(self, path: str) -> None:
        with self._lock:
            old = self._files[path]
            self._done += old.size - old.bytes_done
            self._files_done += 1
            self._files[path] = FileProgress(path, old.size, old.how, old.size, old.began_s, self._elapsed())
        self._report()

    def finish(self) -> StagingProgress:
        """Report for the last time, because everything is staged."""
        with self._lock:
            self._sample()
            self._say(self._line())
            last = self._state(finished=True)
            self._observe(last)
            return last

    def moved(self) -> tuple[int, ...]:
        """Return a value that changes whenever a byte moves or a request is sent."""
        with self._lock:
            asked = sum(self._requests().values())
            return self._from_source, self._done, self._files_done, self._source_requests, asked

    def state(self) -> StagingProgress:
        with self._lock:
            return self._state()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._observed < OBSERVE_EVERY_S or not self._lock.acquire(blocking=False):
            return  # not due, or another thread reports
        try:
            self._observed = now
            self._sample()
            self._observe(self._state())
            if now - self._said >= SAY_EVERY_S:
                self._said = now
                self._say(self._line())
        finally:
            self._lock.release()

    def _sample(self) -> None:
        at = self._elapsed()
        if self._samples and at - self._samples[-1].at_s < self._sample_every_s:
            return
        self._samples.append(ThroughputSample(at, self._from_source, self._done))
        if len(self._samples) >= MOST_SAMPLES:
            del self._samples[1::2]
            self._sample_every_s *= 2

    def _state(self, finished: bool = False) -> StagingProgress:
        files = tuple(self._files.values())
        asked = Counter(self._requests())
        asked.subtract(self._before)
        requests = {name: count for name, count in asked.items() if count} | {"source": self._source_requests}
        return StagingProgress(
            self._model,
            self._revision,
            self._elapsed(),
            files,
            self._from_source,
            sum(f.bytes_done for f in files if f.how is TransferMethod.COPIED),
            sum(f.bytes_done for f in files if f.how is TransferMethod.KEPT),
            requests,
            tuple(self._samples),
            finished,
        )

    def _line(self) -> str:
        total = sum(file.size for file in self._files.values())
        rate = self._done / MIB / max(self._elapsed(), 1e-3)
        share = f"{self._done / MIB:.1f} of {total / MIB:.1f} MiB"
        return f"{self._files_done} of {len(self._files)} files, {share}, {rate:.0f} MiB/s"

    def _elapsed(self) -> float:
        return time.monotonic() - self._started
