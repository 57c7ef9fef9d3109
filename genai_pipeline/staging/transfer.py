"""Move the planned files, many parts at once over all files, with nothing on disk.

Each file has a thread that takes its parts in order, hashes them and hands them on to be sent; the
object is completed only when the digest of the whole file is the hub's, so what is visible under its
key is always verified. Memory <= WINDOW parts, whatever the model's size; a part is PART_SIZE, and larger only for
files that S3 would not take in MOST_PARTS of them (78 GiB).
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO

from genai_pipeline.core.errors import ChecksumMismatch, HubUnavailable, NotFound
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import ManifestFile
from genai_pipeline.core.snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore, Upload, UploadedPart
from genai_pipeline.staging.digest import Digest, digest_of
from genai_pipeline.staging.plan import PlannedFile
from genai_pipeline.staging.progress import How, Meter

MIB = 1024 * 1024
PART_SIZE = 8 * MIB
WINDOW = 12
FILES_AT_ONCE = 6
PARTS_AT_ONCE = 8
MOST_PARTS = 10_000
"""Of one upload. Source: Amazon S3 User Guide, "Multipart upload limits"."""


class Transfer:
    """Moves files of one snapshot. Use as a context manager: leaving it ends its threads."""

    def __init__(self, hub: Hub, store: ObjectStore, snapshot: Snapshot, meter: Meter, part_size: int = PART_SIZE):
        self._hub = hub
        self._store = store
        self._snapshot = snapshot
        self._meter = meter
        self._part_size = part_size
        self._window = threading.Semaphore(WINDOW)
        self._files = ThreadPoolExecutor(FILES_AT_ONCE, "stage-file")
        self._fetchers = ThreadPoolExecutor(PARTS_AT_ONCE, "stage-fetch")
        self._senders = ThreadPoolExecutor(PARTS_AT_ONCE, "stage-send")

    def __enter__(self) -> Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._files, self._fetchers, self._senders):
            pool.shutdown(wait=True, cancel_futures=True)

    def move(self, planned: list[PlannedFile]) -> list[ManifestFile]:
        """Move all files; returns them in the order of `planned`. Raises the first error, after the others ended."""

        def one(item: PlannedFile) -> ManifestFile:
            moved = self._move_file(item)
            crash_point("staging.after_file")
            self._meter.end(item.file.path)
            return moved

        return list(self._files.map(one, planned))

    def _move_file(self, item: PlannedFile) -> ManifestFile:
        if item.how is not How.STREAMED:
            kept = self._keep_or_copy(item)
            if kept:
                return kept
        try:
            return self._stream(item)
        except ChecksumMismatch:
            return self._stream(item)  # once more from scratch: a bad proxy or a flipped bit, not a bad file

    def _keep_or_copy(self, item: PlannedFile) -> ManifestFile | None:
        """What is in the store already, if it is what the hub publishes; None means that it has to be streamed."""
        self._meter.begin(item.file.path, item.how)
        try:
            if item.copy_of:
                self._store.copy(item.copy_of, item.key)
            sha256 = digest_of(item.file, self._store.read(item.key))
        except (ChecksumMismatch, NotFound):
            return None
        found = self._store.head(item.key)
        return ManifestFile(item.file.path, item.file.size, sha256, found.etag) if found else None

    def _stream(self, item: PlannedFile) -> ManifestFile:
        crash_point("staging.before_upload")
        self._meter.begin(item.file.path, How.STREAMED)
        if item.file.size > self._part_size:
            return self._stream_in_parts(item)
        with self._window:
            body = self._fetch(item.file, 0, item.file.size)
            sha256 = digest_of(item.file, [body])
            return ManifestFile(item.file.path, item.file.size, sha256, self._store.put(item.key, body))

    def _stream_in_parts(self, item: PlannedFile) -> ManifestFile:
        upload = self._store.begin_upload(item.key)
        try:
            sha256, parts = self._send_parts(item.file, upload)
            etag = self._store.complete_upload(upload, parts)
        except BaseException:
            self._store.abort_upload(upload)
            raise
        return ManifestFile(item.file.path, item.file.size, sha256, etag)

    def _send_parts(self, file: SnapshotFile, upload: Upload) -> tuple[str, list[UploadedPart]]:
        digest = Digest(file)
        fetching: deque[tuple[int, Future[bytes]]] = deque()
        sending: list[Future[UploadedPart]] = []

        def hand_on() -> None:
            number, fetched = fetching.popleft()
            body = fetched.result()
            digest.update(body)
            sending.append(self._senders.submit(self._send, file.path, upload, number, body))

        part_size = max(self._part_size, -(-file.size // MOST_PARTS))
        try:
            for number, start in enumerate(range(0, file.size, part_size), 1):
                # Never wait for the window while holding fetched parts: every thread doing so would be a deadlock.
                while not self._window.acquire(blocking=not fetching):
                    hand_on()
                end = min(start + part_size, file.size)
                fetching.append((number, self._fetchers.submit(self._fetch_or_release, file, start, end)))
            while fetching:
                hand_on()
            parts = [sent.result() for sent in sending]
        except BaseException:
            self._give_up(fetching, sending)
            raise
        return digest.check(), parts

    def _give_up(self, fetching: deque[tuple[int, Future[bytes]]], sending: list[Future[UploadedPart]]) -> None:
        """Wait for what is under way, so that nothing is sent to an aborted upload, and free its window."""
        for _, fetched in fetching:
            if fetched.cancel() or fetched.exception() is None:
                self._window.release()
        for sent in sending:
            sent.exception()

    def _fetch_or_release(self, file: SnapshotFile, start: int, end: int) -> bytes:
        try:
            return self._fetch(file, start, end)
        except BaseException:
            self._window.release()
            raise

    def _fetch(self, file: SnapshotFile, start: int, end: int) -> bytes:
        if start == end:
            return b""
        self._meter.asked_source()
        buffer = BytesIO()  # grows in place and hands its bytes over; joining the chunks would hold them twice
        for chunk in self._hub.read(self._snapshot.source, self._snapshot.revision, file.path, start, end):
            buffer.write(chunk)
            self._meter.read(len(chunk))
        body = buffer.getvalue()
        if len(body) != end - start:
            raise HubUnavailable(
                f"{file.path}: the hub sent {len(body)} of {end - start} bytes.", "Run this again; nothing was staged."
            )
        return body

    def _send(self, path: str, upload: Upload, number: int, body: bytes) -> UploadedPart:
        try:
            sent = self._store.upload_part(upload, number, body)
            self._meter.advance(path, len(body))
            return sent
        finally:
            self._window.release()
