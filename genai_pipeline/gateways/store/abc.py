"""Bytes under keys; the only door to S3."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

DELETED_AT_ONCE = 1000
"""Keys of one request. Source: Amazon S3 API reference, "DeleteObjects"."""

CHUNK = 64 * 1024
"""The most of one read, of whatever is read. With 1 MiB the allocator's arenas of sixteen threads took 40 MiB more, and
grew by 7 MiB with each GiB that passed."""


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
    """`checksum` is the store's own, CRC-64/NVME in base64; None where it says none."""

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


class ObjectStore(ABC):
    """One bucket. Every method raises StoreUnavailable when the store does not answer."""

    bucket: str

    def requests(self) -> Mapping[str, int]:
        """How many requests were sent so far, by operation (``PutObject``, …); nothing where nobody counts."""
        return {}

    @abstractmethod
    def url(self, key: str) -> str:
        """The `s3://bucket/key` address of a key."""

    @abstractmethod
    def elsewhere(
        self, bucket: str, region: str | None, endpoint: str | None, requester_pays: bool = False
    ) -> ObjectStore:
        """Another bucket, with the same credentials; None stands for where this one is."""

    @abstractmethod
    def head(self, key: str) -> StoredObject | None:
        """What is under `key`, or None."""

    @abstractmethod
    def get(self, key: str) -> tuple[bytes, str]:
        """Body and ETag. Raises NotFound."""

    @abstractmethod
    def read(self, key: str, start: int = 0, end: int | None = None, etag: str | None = None) -> Iterator[bytes]:
        """Bytes [start, end) in chunks. Raises NotFound; StoreConflict: the object has another ETag than this one."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below `prefix`."""

    @abstractmethod
    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        """Multipart uploads under way below `prefix`."""

    @abstractmethod
    def now(self) -> float:
        """Unix time by the store's clock, which is the one that objects and uploads are dated by."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is this bucket."""

    @abstractmethod
    def ensure_bucket(self) -> None:
        """Create the bucket unless it exists."""

    @abstractmethod
    def put(self, key: str, body: bytes) -> str:
        """Create or overwrite; returns the ETag."""

    @abstractmethod
    def put_file(self, key: str, body: Body) -> str:
        """Like `put`, for a model's file: without a copy, and with a checksum that the store compares."""

    @abstractmethod
    def put_new(self, key: str, body: bytes) -> str:
        """Create `key`. Raises AlreadyExists rather than overwrite."""

    @abstractmethod
    def put_if_match(self, key: str, body: bytes, etag: str) -> str:
        """Overwrite `key` only while its ETag is `etag`. Raises StoreConflict."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete `key`; absent is fine."""

    @abstractmethod
    def delete_many(self, keys: Sequence[str]) -> None:
        """Delete at most DELETED_AT_ONCE keys in one request; absent ones are fine."""

    @abstractmethod
    def copy(self, source: str, target: str, etag: str | None = None) -> str:
        """Server-side copy of any size, of a key or of another bucket's `s3://bucket/key`; returns the copy's ETag.

        Raises: NotFound; AccessDenied: these credentials may not read there; StoreConflict: the source has another
        ETag than this one, or was overwritten meanwhile.
        """

    @abstractmethod
    def begin_upload(self, key: str) -> Upload:
        """Start a multipart upload."""

    @abstractmethod
    def upload_part(self, upload: Upload, number: int, body: Body) -> UploadedPart:
        """Send part `number` (from 1), with a checksum that the store compares with what it got. Raises NotFound."""

    @abstractmethod
    def list_parts(self, upload: Upload) -> Iterator[UploadedPart]:
        """The parts that an upload has, in order. Raises NotFound."""

    @abstractmethod
    def complete_upload(self, upload: Upload, parts: list[UploadedPart]) -> str:
        """Make the parts one object; returns its ETag.

        Raises: NotFound: the upload is gone. StoreConflict: it has not these parts, because somebody sent others.
        """

    @abstractmethod
    def abort_upload(self, upload: Upload) -> None:
        """Throw the upload and its parts away; absent is fine."""
