"""Computes the digests of a file over its bytes in order, and compares them with those that the hub publishes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable

from genai_pipeline.core.errors import ChecksumMismatch
from genai_pipeline.core.formats import LARGEST_HEAD, refuse_disguised
from genai_pipeline.core.manifest import ManifestFile
from genai_pipeline.core.model_snapshot import SnapshotFile
from genai_pipeline.gateways.store.abc import Body
from genai_pipeline.gateways.store.checksums import ALGORITHM, Crc64


class Digest:
    """sha256 and CRC-64/NVME for the manifest; also the git blob id for a file that the hub lists without a sha256.

    Source: git documentation, "Git Objects": sha1 of `blob <size>\\0` and the content.
    """

    def __init__(self, file: SnapshotFile) -> None:
        self._file = file
        self._head = b""
        self._sha256 = hashlib.sha256()
        self._crc64 = Crc64()
        self._blob = None if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, body: Body) -> None:
        self._head = self._head or bytes(body[:LARGEST_HEAD])
        self._sha256.update(body)
        self._crc64.update(body)
        if self._blob:
            self._blob.update(body)

    def check(self) -> str:
        """Return the sha256 in hex. Raises: ChecksumMismatch. UnsafeFormat: the name promises another format."""
        sha256 = self._sha256.hexdigest()
        expected, actual = self._file.sha256, sha256
        if self._blob and self._file.blob_id:
            expected, actual = self._file.blob_id, self._blob.hexdigest()
        if expected is None:
            raise ChecksumMismatch(self._file.path, "no digest", sha256)
        if expected != actual:
            raise ChecksumMismatch(self._file.path, expected, actual)
        refuse_disguised(self._file.path, self._head, self._file.size)
        return sha256

    def entry(self, etag: str, part_size: int | None) -> ManifestFile:
        """Return the entry of the file in the manifest. Raises: ChecksumMismatch."""
        blob_id = self._blob.hexdigest() if self._blob else None
        checksum = f"{ALGORITHM}:{self._crc64.text}"
        return ManifestFile(self._file.path, self._file.size, self.check(), etag, part_size, checksum, blob_id)


def digest_over(file: SnapshotFile, chunks: Iterable[Body]) -> Digest:
    """Return the checked digest of a whole file. Raises: ChecksumMismatch."""
    digest = Digest(file)
    for chunk in chunks:
        digest.update(chunk)
    digest.check()
    return digest


class OrderedHasher:
    """Feeds a digest part by part in order; the parts may arrive in any order.

    The thread that brings the next part hashes it, and the parts that wait behind it. No other thread waits for that:
    one hashes while the others move bytes, because hashlib and awscrt release the interpreter lock.
    """

    def __init__(self, digest: Digest) -> None:
        self._digest = digest
        self._waiting: dict[int, tuple[Body, Callable[[], None]]] = {}
        self._next = 1
        self._busy = self._over = False
        self._lock = threading.Lock()

    def add(self, number: int, body: Body, hashed: Callable[[], None]) -> None:
        """Take part `number` (from 1). `hashed` is called, in any thread, once the body is no longer needed."""
        with self._lock:
            if self._over:
                hashed()
                return
            self._waiting[number] = (body, hashed)
            if self._busy:
                return
            self._busy = True
        while (part := self._take()) is not None:
            self._digest.update(part[0])
            part[1]()

    def abandon(self) -> None:
        """Release every body, because the digest is no longer needed."""
        with self._lock:
            self._over = True
            waiting, self._waiting = list(self._waiting.values()), {}
        for _, hashed in waiting:
            hashed()

    def _take(self) -> tuple[Body, Callable[[], None]] | None:
        with self._lock:
            part = self._waiting.pop(self._next, None)
            if part is None:
                self._busy = False
            else:
                self._next += 1
            return part
