"""The interface to S3: bytes under keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

CHUNK = 64 * 1024
"""Bytes of the largest read. With 1 MiB, the allocator's arenas of sixteen threads took 40 MiB more, and grew by 7 MiB
with each GiB that passed."""


@dataclass(frozen=True)
class StoredObject:
    """What a listing says of an object; `etag` without quotes, `modified_at` a Unix time by the store's clock."""

    key: str
    size: int
    etag: str
    modified_at: float


Body = bytes | bytearray | memoryview


@dataclass(frozen=True)
class UploadedPart:
    """A stored part. `checksum` is the store's own CRC-64/NVME in base64, or None."""

    number: int
    size: int
    etag: str
    checksum: str | None = None


@dataclass(frozen=True)
class Upload:
    """A multipart upload under way; `started_at` is a Unix time in seconds."""

    key: str
    upload_id: str
    started_at: float


@dataclass
class Abilities:
    """Remember what a server does as Amazon S3 does: true until it refuses, or until the user forbids it."""

    crc64: bool = True
    """It compares bodies with a CRC-64/NVME. Otherwise they come with an MD5."""
    many_deletes: bool = True
    """It deletes many objects by one request. Otherwise each takes a request of its own."""
    known: bool = True
    """An upload in parts ended well. Of Amazon S3 that is known without a try."""


class ObjectStore(ABC):
    """One bucket. Every method raises StoreUnavailable if the store does not answer."""

    bucket: str
    writable: bool = True
    """Whether it may be written to; what is only remembered there is not kept otherwise."""

    @property
    def abilities(self) -> Abilities:
        """Return what the server could do so far."""
        return Abilities()

    def requests(self) -> Mapping[str, int]:
        """Return the number of requests by operation (``PutObject``, …), or an empty mapping without a counter."""
        return {}

    @abstractmethod
    def url(self, key: str) -> str:
        """Return the `s3://bucket/key` address of a key."""

    @abstractmethod
    def elsewhere(
        self, bucket: str, region: str | None, endpoint: str | None, requester_pays: bool = False
    ) -> ObjectStore:
        """Return another bucket with the same credentials; None stands for the region or endpoint of this one."""

    @abstractmethod
    def head(self, key: str) -> StoredObject | None:
        """Return what a listing says of `key`, or None."""

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str]:
        """Return body and ETag. Raises: NotFound."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None, etag: str | None = None) -> Iterator[bytes]:
        """Return bytes [start, end) in chunks. Raises: NotFound. StoreConflict: the object's ETag is not `etag`."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Return every object below `prefix`."""

    @abstractmethod
    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        """Return the multipart uploads under way below `prefix`."""

    @abstractmethod
    def now(self) -> float:
        """Return the Unix time by the store's clock, which dates objects and uploads."""

    @abstractmethod
    def exists(self) -> bool:
        """Return whether the bucket exists."""

    @abstractmethod
    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""

    @abstractmethod
    def put(self, key: str, body: bytes) -> str:
        """Create or overwrite `key`, and return the ETag."""

    @abstractmethod
    def put_file(self, key: str, body: Body) -> str:
        """Put a model's file: as `put`, but without a copy in memory, and with a checksum that the store compares."""

    @abstractmethod
    def put_new(self, key: str, body: bytes) -> str:
        """Create `key`, and return the ETag. Raises: AlreadyExists."""

    @abstractmethod
    def put_if_match(self, key: str, body: bytes, etag: str) -> str:
        """Overwrite `key` if its ETag is `etag`, and return the new one. Raises: StoreConflict."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete `key`. An absent key is fine."""

    @abstractmethod
    def delete_first(self, keys: Sequence[str]) -> int:
        """Delete as many of the first keys as go at once, and return their number, which may be 0.

        Absent keys are fine. It takes no longer than one request does, tries included.
        """

    def delete_all(self, keys: Sequence[str]) -> None:
        """Delete all these keys, however many. Absent keys are fine."""
        done = 0
        while done < len(keys):
            done += self.delete_first(keys[done:])

    @abstractmethod
    def copy(self, source: str, target: str, etag: str | None = None) -> str:
        """Copy an object of any size within the store, and return the ETag of the copy.

        Args:
            source: a key, or `s3://bucket/key` of another bucket.
            etag: the ETag that the source must have; None means any.

        Raises: NotFound; AccessDenied: these credentials may not read there; StoreConflict: the source has another
        ETag than this one, or was overwritten meanwhile.
        """

    @abstractmethod
    def begin_upload(self, key: str) -> Upload:
        """Start a multipart upload."""

    @abstractmethod
    def upload_part(self, upload: Upload, number: int, body: Body) -> UploadedPart:
        """Send part `number` (from 1), with a checksum that the store compares. Raises: NotFound."""

    @abstractmethod
    def list_parts(self, upload: Upload) -> Iterator[UploadedPart]:
        """Return the parts of an upload in order. Raises: NotFound."""

    @abstractmethod
    def complete_upload(self, upload: Upload, parts: list[UploadedPart]) -> str:
        """Make the parts one object, and return its ETag.

        Raises: NotFound: the upload is gone. StoreConflict: the upload has other parts, which another stager sent.
        """

    @abstractmethod
    def abort_upload(self, upload: Upload) -> None:
        """Delete the upload and its parts. An absent upload is fine."""
