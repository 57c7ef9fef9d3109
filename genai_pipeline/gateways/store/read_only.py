"""A bucket that is only looked at: reads go through, and writes are refused before they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NoReturn, TypeVar

from genai_pipeline.core.errors import NotFound, Refused, StoreUnavailable
from genai_pipeline.gateways.store.abc import Body, ObjectStore, StoredObject, Upload, UploadedPart

T = TypeVar("T")


class ReadOnlyStore(ObjectStore):
    """Reads another store. A store that did not answer once is not asked again, because each try takes seconds.

    Args:
        silent: why the store cannot answer, if that is known before it is asked.
    """

    writable = False

    def __init__(self, inner: ObjectStore, silent: StoreUnavailable | None = None) -> None:
        self.bucket = inner.bucket
        self._inner = inner
        self._silent = silent

    def requests(self) -> Mapping[str, int]:
        return self._inner.requests()

    def url(self, key: str) -> str:
        return self._inner.url(key)

    def elsewhere(
        self, bucket: str, region: str | None, endpoint: str | None, requester_pays: bool = False
    ) -> ObjectStore:
        silent = None if endpoint else self._silent
        return ReadOnlyStore(self._inner.elsewhere(bucket, region, endpoint, requester_pays), silent)

    def head(self, key: str) -> StoredObject | None:
        return self._ask(lambda: self._inner.head(key))

    def get(self, key: str) -> tuple[bytes, str]:
        return self._ask(lambda: self._inner.get(key))

    def read(self, key: str, start: int = 0, end: int | None = None, etag: str | None = None) -> Iterator[bytes]:
        return self._each(lambda: self._inner.read(key, start, end, etag))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Return every object below `prefix`; none of a bucket that does not exist yet."""
        with suppress(NotFound):
            yield from self._each(lambda: self._inner.list(prefix))

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        return self._each(lambda: self._inner.list_uploads(prefix))

    def list_parts(self, upload: Upload) -> Iterator[UploadedPart]:
        return self._each(lambda: self._inner.list_parts(upload))

    def now(self) -> float:
        return self._ask(self._inner.now)

    def exists(self) -> bool:
        return self._ask(self._inner.exists)

    def _ask(self, question: Callable[[], T]) -> T:
        if self._silent:
            raise self._silent
        try:
            return question()
        except StoreUnavailable as error:
            self._silent = error
            raise

    def _each(self, question: Callable[[], Iterator[T]]) -> Iterator[T]:
        answers = self._ask(question)
        while some := self._ask(lambda: list(islice(answers, 1))):
            yield from some

    def _refuse(self, what: str) -> NoReturn:
        raise Refused(f"{what} would be written to a bucket that is only looked at.", "This is a defect: report it.")

    def ensure_bucket(self) -> None:
        self._refuse(f"The bucket {self.bucket}")

    def put(self, key: str, body: bytes) -> str:
        self._refuse(key)

    def put_file(self, key: str, body: Body) -> str:
        self._refuse(key)

    def put_new(self, key: str, body: bytes) -> str:
        self._refuse(key)

    def put_if_match(self, key: str, body: bytes, etag: str) -> str:
        self._refuse(key)

    def delete(self, key: str) -> None:
        self._refuse(key)

    def delete_first(self, keys: Sequence[str]) -> int:
        self._refuse(", ".join(keys))

    def copy(self, source: str, target: str, etag: str | None = None) -> str:
        self._refuse(target)

    def begin_upload(self, key: str) -> Upload:
        self._refuse(key)

    def upload_part(self, upload: Upload, number: int, body: Body) -> UploadedPart:
        self._refuse(upload.key)

    def complete_upload(self, upload: Upload, parts: list[UploadedPart]) -> str:
        self._refuse(upload.key)

    def abort_upload(self, upload: Upload) -> None:
        self._refuse(upload.key)
