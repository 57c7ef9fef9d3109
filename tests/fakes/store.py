"""A bucket in memory, with S3's own answers: conditional writes, multipart uploads, ETags."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict, StoreUnavailable
from genai_pipeline.gateways.store.abc import Body, ObjectStore, StoredObject, Upload, UploadedPart
from genai_pipeline.gateways.store.s3_settings import bucket_and_key

CHUNK = 64 * 1024


class MemoryStore(ObjectStore):
    """State goes in by the constructor; what was done to it is readable afterwards.

    Attributes:
        objects: key -> body, everything visible.
        body_bytes_received: of every put and part so far; copies cost none, as in S3.
        calls: (method, key) of every mutation, in order.
        buckets: other buckets of the same server, by name.
        deleted_at_once: keys of one request.
        fail: called with (method, key) before each call; raise in it to play a broken store.
    """

    def __init__(
        self,
        objects: Mapping[str, bytes] | None = None,
        bucket: str = "genai",
        fail: Callable[[str, str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.bucket = bucket
        self.objects: dict[str, bytes] = dict(objects or {})
        self.etags: dict[str, str] = {key: _md5(body) for key, body in self.objects.items()}
        self.modified: dict[str, float] = dict.fromkeys(self.objects, clock())
        self.uploads: dict[str, tuple[Upload, dict[int, bytes]]] = {}
        self.buckets: dict[str, MemoryStore] = {bucket: self}
        self.body_bytes_received = 0
        self.calls: list[tuple[str, str]] = []
        self.deleted_at_once = 1000
        self.fail = fail
        self._clock = clock
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    def go_down(self) -> None:
        """Answer every call with StoreUnavailable from now on, until `come_back`."""

        def refuse(method: str, key: str) -> None:
            raise StoreUnavailable(f"The store did not answer {method} {key}.", "Start it.")

        self.fail = refuse

    def come_back(self) -> None:
        self.fail = None

    def url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"

    def elsewhere(
        self, bucket: str, region: str | None, endpoint: str | None, requester_pays: bool = False
    ) -> MemoryStore:
        return self.buckets.setdefault(bucket, MemoryStore(bucket=bucket))

    def head(self, key: str) -> StoredObject | None:
        with self._asked("head", key):
            body = self.objects.get(key)
            return None if body is None else StoredObject(key, len(body), self.etags[key], self.modified[key])

    def get(self, key: str) -> tuple[bytes, str]:
        with self._asked("get", key):
            return self._body(key), self.etags[key]

    def read(self, key: str, start: int = 0, end: int | None = None, etag: str | None = None) -> Iterator[bytes]:
        with self._asked("read", key):
            body = self._body(key)[start:end]
            if etag not in (None, self.etags[key]):
                raise StoreConflict(f"{self.url(key)} was changed by somebody else.", "Read it again and retry.")
        for at in range(0, len(body), CHUNK):
            yield body[at : at + CHUNK]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._asked("list", prefix):
            found = [StoredObject(k, len(v), self.etags[k], self.modified[k]) for k, v in sorted(self.objects.items())]
        return iter([o for o in found if o.key.startswith(prefix)])

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        with self._asked("list_uploads", prefix):
            return iter([u for u, _ in self.uploads.values() if u.key.startswith(prefix)])

    def now(self) -> float:
        with self._asked("now", ""):
            return self._clock()

    def exists(self) -> bool:
        with self._asked("exists", ""):
            return True

    def ensure_bucket(self) -> None:
        with self._asked("ensure_bucket", ""):
            return

    def put(self, key: str, body: bytes) -> str:
        with self._changed("put", key):
            self.body_bytes_received += len(body)
            return self._set(key, body, _md5(body))

    def put_file(self, key: str, body: Body) -> str:
        return self.put(key, bytes(body))

    def put_new(self, key: str, body: bytes) -> str:
        with self._changed("put_new", key):
            self.body_bytes_received += len(body)
            if key in self.objects:
                raise AlreadyExists(f"{self.url(key)} exists already.", "Read it, or choose another key.")
            return self._set(key, body, _md5(body))

    def put_if_match(self, key: str, body: bytes, etag: str) -> str:
        with self._changed("put_if_match", key):
            self.body_bytes_received += len(body)
            if self.etags.get(key) != etag:
                raise StoreConflict(f"{self.url(key)} was changed by somebody else.", "Read it again and retry.")
            return self._set(key, body, _md5(body))

    def delete(self, key: str) -> None:
        with self._changed("delete", key):
            self.objects.pop(key, None)
            self.etags.pop(key, None)

    def delete_first(self, keys: Sequence[str]) -> int:
        for key in keys[: self.deleted_at_once]:
            self.delete(key)
        return min(len(keys), self.deleted_at_once)

    def copy(self, source: str, target: str, etag: str | None = None) -> str:
        with self._changed("copy", target):
            bucket, key = bucket_and_key(source, self.bucket)
            origin = self.elsewhere(bucket, None, None)
            if etag not in (None, origin.etags.get(key, etag)):
                raise StoreConflict(f"{source} was changed by somebody else.", "Read it again and retry.")
            return self._set(target, origin._body(key), origin.etags[key])

    def begin_upload(self, key: str) -> Upload:
        with self._changed("begin_upload", key):
            upload = Upload(key, f"upload-{next(self._ids)}", self._clock())
            self.uploads[upload.upload_id] = (upload, {})
            return upload

    def upload_part(self, upload: Upload, number: int, body: Body) -> UploadedPart:
        with self._changed("upload_part", upload.key):
            self.body_bytes_received += len(body)
            self._parts(upload)[number] = bytes(body)
            return UploadedPart(number, len(body), _md5(bytes(body)))

    def list_parts(self, upload: Upload) -> Iterator[UploadedPart]:
        with self._asked("list_parts", upload.key):
            return iter([UploadedPart(n, len(b), _md5(b)) for n, b in sorted(self._parts(upload).items())])

    def complete_upload(self, upload: Upload, parts: list[UploadedPart]) -> str:
        with self._changed("complete_upload", upload.key):
            sent = self._parts(upload)
            if any(p.number not in sent or _md5(sent[p.number]) != p.etag for p in parts):
                raise StoreConflict(f"{self.url(upload.key)}: the upload has other parts.", "Begin it again.")
            bodies = [sent[part.number] for part in sorted(parts, key=lambda p: p.number)]
            digests = b"".join(hashlib.md5(body).digest() for body in bodies)
            del self.uploads[upload.upload_id]
            return self._set(upload.key, b"".join(bodies), f"{_md5(digests)}-{len(bodies)}")

    def abort_upload(self, upload: Upload) -> None:
        with self._changed("abort_upload", upload.key):
            self.uploads.pop(upload.upload_id, None)

    def _asked(self, method: str, key: str) -> threading.RLock:
        if self.fail:
            self.fail(method, key)
        return self._lock

    def _changed(self, method: str, key: str) -> threading.RLock:
        lock = self._asked(method, key)
        self.calls.append((method, key))
        return lock

    def _body(self, key: str) -> bytes:
        if key not in self.objects:
            raise NotFound(f"{self.url(key)} does not exist.", "Check the key.")
        return self.objects[key]

    def _parts(self, upload: Upload) -> dict[int, bytes]:
        if upload.upload_id not in self.uploads:
            raise NotFound(f"The upload {upload.upload_id} of {self.url(upload.key)} is gone.", "Start it again.")
        return self.uploads[upload.upload_id][1]

    def _set(self, key: str, body: bytes, etag: str) -> str:
        self.objects[key] = bytes(body)
        self.etags[key] = etag
        self.modified[key] = self._clock()
        return etag


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()
