"""Sends a large file as one multipart upload, in any order of parts, and completes it only if the digest is right.

**Resume.** An upload that a killed stager left is continued. Every part is read from the hub once more, because the
sha256 needs all bytes in order and hashlib cannot hand out its state. S3 cannot read the parts of an unfinished upload.
So a part counts as sent only if the store's checksum of it equals that of the bytes just read; every other part is sent
again. Only the few files that were under way at the kill are read twice.

**Two stagers** of one revision share an upload and send the same parts. The first one completes it; the other one finds
the upload gone and the object there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from genai_pipeline.core.errors import NotFound
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import ManifestFile
from genai_pipeline.core.model_snapshot import SnapshotFile
from genai_pipeline.gateways.store.abc import ObjectStore, Upload, UploadedPart
from genai_pipeline.gateways.store.checksums import is_body
from genai_pipeline.staging.digest import Digest, OrderedHasher
from genai_pipeline.staging.memory_window import MemoryWindow
from genai_pipeline.staging.meter import Meter

MOST_PARTS = 10_000
"""The most parts of one upload. Source: Amazon S3 User Guide, "Multipart upload limits"."""

Fetch = Callable[[SnapshotFile, int, memoryview], None]


class MultipartFile:
    """One file of more than one part. The threads of a transfer call `begin` and `move`.

    Args:
        found: unfinished uploads of this key; empty to start from scratch.
    """

    def __init__(
        self, store: ObjectStore, file: SnapshotFile, key: str, part_size: int, window: MemoryWindow, meter: Meter,
        found: Sequence[Upload],
    ) -> None:  # fmt: skip
        self.file, self.key = file, key
        self.part_size = max(part_size, -(-file.size // MOST_PARTS))
        self.count = -(-file.size // self.part_size)
        self.failed: BaseException | None = None
        self._store, self._window, self._meter, self._found = store, window, meter, found
        self._digest = Digest(file)
        self._order = OrderedHasher(self._digest)
        self._begun: Future[tuple[Upload, dict[int, UploadedPart]]] = Future()
        self._sent: dict[int, UploadedPart] = {}
        self._left = self.count
        self._lock = threading.Lock()

    def span(self, number: int) -> tuple[int, int]:
        """Return the bytes [start, end) of part `number` (from 1)."""
        return (number - 1) * self.part_size, min(number * self.part_size, self.file.size)

    def begin(self) -> None:
        """Find the upload to continue, or start one."""
        try:
            crash_point("staging.before_upload")
            self._begun.set_result(self._fullest() or (self._store.begin_upload(self.key), {}))
            crash_point("staging.upload_begun")
        except BaseException as error:
            if not self._begun.done():
                self._begun.set_exception(error)
            self.fail(error)

    def move(self, number: int, buffer: memoryview, fetch: Fetch) -> bool:
        """Bring one part from source to store. Return True if it was the last one to end."""
        lent = _Lent(buffer, self._window)
        try:
            if self.failed is None:
                fetch(self.file, self.span(number)[0], buffer)
                crash_point("staging.part_read")
                lent.lend()
                self._order.add(number, buffer, lent.end)
                self._send(number, buffer)
                crash_point("staging.part_sent")
        except BaseException as error:
            self.fail(error)
        finally:
            lent.end()
        return self.ended(1)

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self.failed = self.failed or error
        self._order.abandon()

    def ended(self, parts: int) -> bool:
        """Note that `parts` parts have ended or will never begin. Return True if no part is left."""
        with self._lock:
            self._left -= parts
            return self._left == 0

    def complete(self) -> ManifestFile:
        """Make the parts visible as one object. Raises: ChecksumMismatch, NotFound, StoreConflict."""
        self._digest.check()
        crash_point("staging.before_complete")
        etag = self._store.complete_upload(self._begun.result()[0], list(self._sent.values()))
        crash_point("staging.after_complete")
        return self._digest.entry(etag, self.part_size)

    def abort(self) -> None:
        """Delete the parts that were sent."""
        if self._begun.done() and self._begun.exception() is None:
            crash_point("staging.before_abort")
            self._store.abort_upload(self._begun.result()[0])
            crash_point("staging.after_abort")

    def _send(self, number: int, body: memoryview) -> None:
        upload, there = self._begun.result()
        part = there.get(number)
        if part is None or not is_body(part, body):
            part = self._store.upload_part(upload, number, body)
        with self._lock:
            self._sent[number] = part
        self._meter.advance(self.file.path, body.nbytes)

    def _fullest(self) -> tuple[Upload, dict[int, UploadedPart]] | None:
        """Return the upload that has most of this file's parts."""
        known: list[tuple[Upload, dict[int, UploadedPart]]] = []
        for upload in self._found:
            with suppress(NotFound):  # completed or aborted meanwhile
                known.append((upload, {part.number: part for part in self._store.list_parts(upload)}))
        return max(known, key=lambda one: len(one[1]), default=None)


class _Lent:
    """A buffer that goes back to the window once all its users have ended."""

    def __init__(self, buffer: memoryview, window: MemoryWindow) -> None:
        self._buffer, self._window = buffer, window
        self._users = 1
        self._lock = threading.Lock()

    def lend(self) -> None:
        with self._lock:
            self._users += 1

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._window.give_back(self._buffer)
