"""The digests of a file, over its bytes in order, and their comparison with what the hub publishes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from genai_pipeline.core.errors import ChecksumMismatch
from genai_pipeline.core.snapshot import SnapshotFile


class Digest:
    """sha256 for the manifest; for a file that the hub lists without one, its git blob id as well.

    Source: git documentation, "Git Objects": sha1 of `blob <size>\\0` and the content.
    """

    def __init__(self, file: SnapshotFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._blob = None if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, body: bytes) -> None:
        self._sha256.update(body)
        if self._blob:
            self._blob.update(body)

    def check(self) -> str:
        """The sha256 in hex. Raises: ChecksumMismatch."""
        sha256 = self._sha256.hexdigest()
        expected, actual = self._file.sha256, sha256
        if self._blob and self._file.blob_id:
            expected, actual = self._file.blob_id, self._blob.hexdigest()
        if expected is None:
            raise ChecksumMismatch(self._file.path, "no digest", sha256)
        if expected != actual:
            raise ChecksumMismatch(self._file.path, expected, actual)
        return sha256


def digest_of(file: SnapshotFile, chunks: Iterable[bytes]) -> str:
    """The checked sha256 of a whole file. Raises: ChecksumMismatch."""
    digest = Digest(file)
    for chunk in chunks:
        digest.update(chunk)
    return digest.check()
