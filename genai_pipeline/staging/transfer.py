"""Moves the planned files, many parts at once over all files, with nothing on disk.

One thread hands out the parts in order. WORKERS threads bring each part from the hub to the store through a buffer of
the window. An object becomes visible only if the digest of the whole file is that of the hub. Memory is the window,
however large the model is. Kept and copied files are read back and hashed too: a stored checksum says only what the
bytes were when it was written, and reading within a region costs little.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from genai_pipeline.core.errors import (
    ChecksumMismatch,
    GenaiError,
    HubUnavailable,
    NotFound,
    Refused,
    StoreConflict,
    Unavailable,
    UnsafeFormat,
)
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import ManifestFile, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore, Upload
from genai_pipeline.gateways.threads import Workers
from genai_pipeline.staging.digest import digest_over
from genai_pipeline.staging.memory_window import LOOK_EVERY_S, MemoryWindow
from genai_pipeline.staging.meter import MIB, Meter, TransferMethod
from genai_pipeline.staging.multipart import MultipartFile
from genai_pipeline.staging.stall import StallDetector
from genai_pipeline.staging.transfer_plan import PlannedFile

PART_SIZE = 16 * MIB
PARTS_IN_WINDOW = 10
WORKERS = 16
MOST_TRIES = 5
"""The most tries of one file: after wrong bytes, or after another stager completed the upload."""


class Transfer:
    """Moves the files of one snapshot. Use as a context manager; leaving it ends its threads."""

    def __init__(
        self, hub: Hub, store: ObjectStore, model: str, snapshot: Snapshot, meter: Meter, part_size: int = PART_SIZE
    ) -> None:
        self._hub, self._store, self._snapshot, self._meter = hub, store, snapshot, meter
        self._prefix = staged_prefix(model, snapshot.revision)
        self._part_size = part_size
        self._stall = StallDetector(meter)
        self._window = MemoryWindow(PARTS_IN_WINDOW * part_size, part_size, self._require_movement)
        self._workers = Workers(WORKERS, "stage")
        self._todo: deque[PlannedFile] = deque()
        self._moved: dict[str, ManifestFile] = {}
        self._left: dict[str, list[Upload]] = defaultdict(list)
        self._tries: Counter[str] = Counter()
        self._mismatched: set[str] = set()
        self._under_way = 0
        self._failed: BaseException | None = None
        self._changed = threading.Condition()

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *error: Any) -> None:
        with self._changed:
            self._failed = self._failed or GenaiError("The staging was ended.", "Run it again.")
        self._workers.__exit__(*error)

    def move(self, planned: Sequence[PlannedFile]) -> list[ManifestFile]:
        """Move all files, and return them in the order of `planned`.

        Raises the first error, once the files under way have ended or do not move any more. Uploads stay, so that the
        next run continues them, unless another run cannot help.
        """
        self._todo.extend(planned)
        if any(self._is_large(item) for item in planned):
            for upload in self._store.list_uploads(self._prefix):
                self._left[upload.key].append(upload)
        while (item := self._next()) is not None:
            self._deal_out(item)
        return [self._moved[item.file.path] for item in planned]

    def _next(self) -> PlannedFile | None:
        """Return the next file; None when all are done. Raise the first error of a thread, or that nothing moves."""
        with self._changed:
            while self._under_way and not (self._todo and self._failed is None):
                if not self._changed.wait(LOOK_EVERY_S):
                    self._require_movement()
            if self._failed is not None:
                raise self._failed
            if not self._todo:
                return None
            self._under_way += 1
            return self._todo.popleft()

    def _require_movement(self) -> None:
        """If nothing moves any more, raise the error that ended the staging, or else the diagnosis."""
        try:
            self._stall.check()
        except Unavailable as stalled:
            raise self._failed or stalled from None

    def _deal_out(self, item: PlannedFile) -> None:
        if item.how is TransferMethod.STREAMED and self._is_large(item):
            self._deal_out_parts(item)
        elif item.how is TransferMethod.STREAMED:
            buffer = self._window.take(item.file.size)
            self._workers.submit(lambda: self._guarded(item, lambda: self._send_whole(item, buffer)))
        else:
            self._workers.submit(lambda: self._guarded(item, lambda: self._keep_or_copy(item)))

    def _deal_out_parts(self, item: PlannedFile) -> None:
        found = [] if item.file.path in self._mismatched else self._left.pop(item.key, [])
        self._meter.begin(item.file.path, TransferMethod.STREAMED)
        file = MultipartFile(self._store, item.file, item.key, self._part_size, self._window, self._meter, found)
        self._workers.submit(file.begin)
        for number in range(1, file.count + 1):
            start, end = file.span(number)
            buffer = self._window.take(end - start)
            if file.failed or self._failed:
                self._window.give_back(buffer)
                file.fail(GenaiError("The staging failed elsewhere.", "Run it again."))
                if file.ended(file.count - number + 1):
                    self._end_of_parts(item, file)
                return
            self._workers.submit(partial(self._move_part, item, file, number, buffer))

    def _move_part(self, item: PlannedFile, file: MultipartFile, number: int, buffer: memoryview) -> None:
        if file.move(number, buffer, self._fetch):
            self._end_of_parts(item, file)

    def _end_of_parts(self, item: PlannedFile, file: MultipartFile) -> None:
        def complete() -> ManifestFile:
            if file.failed:
                raise file.failed
            return file.complete()

        self._guarded(item, complete, file.abort)

    def _guarded(
        self, item: PlannedFile, move: Callable[[], ManifestFile | None], undo: Callable[[], None] = lambda: None
    ) -> None:
        """Run the last step of a file in a worker, and record the result."""
        again: PlannedFile | None = None
        failed: BaseException | None = None
        try:
            moved = move()
            if moved is None:
                again = replace(item, how=TransferMethod.STREAMED, copy_of=None)
            else:
                self._moved[item.file.path] = moved
                crash_point("staging.after_file")
                self._meter.end(item.file.path)
        except BaseException as error:
            try:
                again, failed = self._after(error, item, undo)
            except BaseException as worse:
                failed = worse
        with self._changed:
            if again is not None:
                self._todo.appendleft(again)
            self._failed = self._failed or failed
            self._under_way -= 1
            self._changed.notify_all()

    def _after(
        self, error: BaseException, item: PlannedFile, undo: Callable[[], None]
    ) -> tuple[PlannedFile | None, BaseException | None]:
        """Return (the file to try again, None), or (None, the error that ends the staging)."""
        path = item.file.path
        self._tries[path] += 1
        if isinstance(error, (ChecksumMismatch, UnsafeFormat)):
            with suppress(Unavailable):  # what stays is deleted after a day; a resume would not accept its parts
                undo()
        if isinstance(error, ChecksumMismatch) and path not in self._mismatched:
            self._mismatched.add(path)  # from scratch, once: perhaps the bytes were damaged on the way
            return replace(item, how=TransferMethod.STREAMED, copy_of=None), None
        if (
            isinstance(error, (NotFound, StoreConflict))
            and self._tries[path] < MOST_TRIES
            and self._is_ours(error, item)
        ):
            return replace(item, how=TransferMethod.KEPT, copy_of=None), None  # another stager may have completed it
        return None, error

    def _is_ours(self, error: BaseException, item: PlannedFile) -> bool:
        """Return True if the upload is gone, and not a file of the hub."""
        return isinstance(error, StoreConflict) or self._store.url(item.key) in str(error)

    def _keep_or_copy(self, item: PlannedFile) -> ManifestFile | None:
        """Return the entry of a kept or copied file, or None if it must be streamed because the bytes differ."""
        self._meter.begin(item.file.path, item.how)
        try:
            if item.copy_of:
                crash_point("staging.before_copy")
                self._store.copy(item.copy_of, item.key, item.copy_etag)
                crash_point("staging.after_copy")
            found = self._store.head(item.key)
            if found is None or found.size != item.file.size:
                return None
            digest = digest_over(item.file, self._read_back(item, found.etag))
        except (ChecksumMismatch, NotFound, Refused, StoreConflict):
            return None
        return digest.entry(found.etag, self._layout(found.etag, found.size))

    def _read_back(self, item: PlannedFile, etag: str) -> Iterator[bytes]:
        for chunk in self._store.read(item.key, etag=etag):
            self._meter.advance(item.file.path, len(chunk))
            yield chunk

    def _send_whole(self, item: PlannedFile, buffer: memoryview) -> ManifestFile:
        """Send a file of at most one part with one request, after its digest is checked."""
        self._meter.begin(item.file.path, TransferMethod.STREAMED)
        try:
            self._fetch(item.file, 0, buffer)
            digest = digest_over(item.file, [buffer])
            crash_point("staging.before_put")
            etag = self._store.put_file(item.key, buffer)
            crash_point("staging.after_put")
            return digest.entry(etag, None)
        finally:
            self._window.give_back(buffer)

    def _fetch(self, file: SnapshotFile, start: int, buffer: memoryview) -> None:
        """Fill the buffer with the bytes from `start`. Raises: HubUnavailable: the hub sent more or fewer bytes."""
        at, size = 0, buffer.nbytes
        if size == 0:
            return
        self._meter.asked_source()
        source, revision = self._snapshot.source, self._snapshot.revision
        with self._stall.reading(file.path):
            for chunk in self._hub.read(source, revision, file.path, start, start + size):
                end = at + len(chunk)
                if end <= size:
                    buffer[at:end] = chunk
                at = end
                self._meter.read(len(chunk))
        if at != size:
            what = f"{file.path}: the source sent {at} of {size} bytes."
            raise HubUnavailable(what, "Run this again. Files that are already verified stay staged.")

    def _is_large(self, item: PlannedFile) -> bool:
        return item.file.size > self._part_size

    def _layout(self, etag: str, size: int) -> int | None:
        """Return the part size of a stored object, if its ETag names the number of parts that staging would send."""
        parts = etag.rpartition("-")[2] if "-" in etag else ""
        return self._part_size if parts == str(-(-size // self._part_size)) else None
