"""Amazon S3, and other servers that speak its protocol, through boto3.

boto3 is imported at the first call, because its import takes half a second, which loading the definitions must not pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from typing import Any

from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict
from genai_pipeline.gateways.redaction import keep_secrets_out_of_logs
from genai_pipeline.gateways.store.abc import CHUNK, Abilities, Body, ObjectStore, StoredObject, Upload, UploadedPart
from genai_pipeline.gateways.store.checksums import HEADER, of_parts
from genai_pipeline.gateways.store.s3_client import S3Client
from genai_pipeline.gateways.store.s3_copy import copy_object
from genai_pipeline.gateways.store.s3_delete import delete_first
from genai_pipeline.gateways.store.s3_settings import S3Settings, bucket_and_key

READ_ATTEMPTS = 4
"""In a row of which none brought LEAST_READ bytes."""
LEAST_READ = 2 * 1024**2


class S3Store(ObjectStore):
    """One bucket of an S3. Thread-safe. The constructor connects to nothing."""

    def __init__(self, bucket: str, settings: S3Settings | None = None) -> None:
        keep_secrets_out_of_logs()
        self.bucket = bucket
        self.settings = settings or S3Settings()
        self._client = S3Client(bucket, self.settings)

    def __repr__(self) -> str:
        return f"S3Store({self.bucket!r}, {self.settings.endpoint!r})"

    @property
    def abilities(self) -> Abilities:
        return self._client.abilities

    def requests(self) -> Mapping[str, int]:
        return dict(self._client.requests)

    def url(self, key: str) -> str:
        return "s3://{}/{}".format(*bucket_and_key(key, self.bucket))

    def elsewhere(self, bucket: str, region: str | None, endpoint: str | None, requester_pays: bool = False) -> S3Store:
        own = self.settings
        place = {"endpoint": endpoint or own.endpoint, "region": region or own.region}
        return S3Store(bucket, replace(own, **place, kms_key=None, requester_pays=requester_pays))

    def head(self, key: str) -> StoredObject | None:
        try:
            with self._translating_errors("look up", key):
                found = self._s3.head_object(Bucket=self.bucket, Key=key, **self.settings.payer)
        except NotFound:
            return None
        return StoredObject(key, found["ContentLength"], _bare(found["ETag"]), found["LastModified"].timestamp())

    def get(self, key: str) -> tuple[bytes, str]:
        with self._translating_errors("read", key):
            found = self._s3.get_object(Bucket=self.bucket, Key=key, **self.settings.payer)
            return found["Body"].read(), _bare(found["ETag"])

    def read(self, key: str, start: int = 0, end: int | None = None, etag: str | None = None) -> Iterator[bytes]:
        """Return bytes [start, end) in chunks. After a broken connection it goes on where it broke, on the same object.

        Raises: NotFound; StoreConflict: the object has another ETag, or was overwritten while it was read.
        """
        if end is not None and end <= start:
            return
        at, attempt, same_object = start, 0, {"IfMatch": etag} if etag else {}
        while True:
            began = at
            try:
                for chunk, etag in self._stream(key, at, end, same_object):
                    yield chunk
                    at, same_object = at + len(chunk), {"IfMatch": etag}
                return
            except _errors().BROKEN_STREAM as error:
                attempt = 1 if at - began >= LEAST_READ else attempt + 1
                if attempt >= READ_ATTEMPTS:
                    with self._translating_errors("read", key):
                        raise error

    def _stream(self, key: str, start: int, end: int | None, condition: dict[str, str]) -> Iterator[tuple[bytes, str]]:
        wanted = {} if start == 0 and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        with self._translating_errors("read", key):
            found = self._s3.get_object(Bucket=self.bucket, Key=key, **wanted, **condition, **self.settings.payer)
        # Raised behind the last byte. Callers compare a sha256, and not every S3 keeps right checksums.
        with closing(found["Body"]) as body, suppress(_errors().WRONG_CHECKSUM):
            for chunk in body.iter_chunks(CHUNK):
                yield chunk, found["ETag"]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._translating_errors("list", prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, **self.settings.payer
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    modified_at = found["LastModified"].timestamp()
                    yield StoredObject(found["Key"], found["Size"], _bare(found["ETag"]), modified_at)

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        with self._translating_errors("list the uploads of", prefix):
            for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Uploads", ()):
                    yield Upload(found["Key"], found["UploadId"], found["Initiated"].timestamp())

    def now(self) -> float:
        with self._translating_errors("look up", ""):
            return _unix_time(self._s3.head_bucket(Bucket=self.bucket)["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def exists(self) -> bool:
        try:
            with self._translating_errors("look up", ""):
                self._s3.head_bucket(Bucket=self.bucket)
        except NotFound:
            return False
        return True

    def ensure_bucket(self) -> None:
        if self.exists():
            return
        with self._translating_errors("create", ""):
            elsewhere = (
                self.settings.endpoint is None and self.settings.region != "us-east-1"
            )  # us-east-1 refuses its own name
            place = {"CreateBucketConfiguration": {"LocationConstraint": self.settings.region}} if elsewhere else {}
            try:
                self._s3.create_bucket(Bucket=self.bucket, **place)
            except _errors().ClientError as error:
                if _errors().code_of(error) != "BucketAlreadyOwnedByYou":
                    raise

    def put(self, key: str, body: bytes) -> str:
        with self._translating_errors("write", key):
            return _bare(
                self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, **self.settings.encryption)["ETag"]
            )

    def put_file(self, key: str, body: Body) -> str:
        with self._translating_errors("write", key):
            return _bare(self._client.sender.put("PutObject", key, {}, body, self.settings.encryption_headers)["ETag"])

    def put_new(self, key: str, body: bytes) -> str:
        try:
            return self._put_if(key, body, IfNoneMatch="*")
        except StoreConflict as error:
            raise AlreadyExists(f"{self.url(key)} exists already.", "Read it, or choose another key.") from error

    def put_if_match(self, key: str, body: bytes, etag: str) -> str:
        try:
            return self._put_if(key, body, IfMatch=etag)
        except NotFound as error:  # S3 answers 404, not 412, where there is nothing to match
            raise StoreConflict(f"{self.url(key)} was deleted meanwhile.", "Read it again and retry.") from error

    def _put_if(self, key: str, body: bytes, **condition: str) -> str:
        with self._translating_errors("write", key):
            try:
                wanted = {**condition, **self.settings.encryption}
                return _bare(self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, **wanted)["ETag"])
            except _errors().ClientError as error:
                # The answer to the first try may have been lost; then the client's retry met the object of that try.
                if _errors().is_conflict(error) and error.response["ResponseMetadata"].get("RetryAttempts"):
                    there, etag = self.get(key)
                    if there == body:
                        return etag
                raise

    def delete(self, key: str) -> None:
        with self._translating_errors("delete", key):
            self._s3.delete_object(Bucket=self.bucket, Key=key)

    def delete_first(self, keys: Sequence[str]) -> int:
        return delete_first(self, self._client, keys)

    def copy(self, source: str, target: str, etag: str | None = None) -> str:
        return copy_object(self, self._client, self.settings, source, target, etag)

    def begin_upload(self, key: str) -> Upload:
        with self._translating_errors("start an upload to", key):
            begun = self._begin(key)
            date = begun["ResponseMetadata"]["HTTPHeaders"].get("date")
            return Upload(key, begun["UploadId"], _unix_time(date))

    def _begin(self, key: str) -> Any:
        """Ask for a checksum over the whole object. A server that refuses it is not asked for it again."""
        s3 = self._s3  # made before its abilities are looked at, because the user's settings may forbid the checksum
        if self.abilities.crc64:
            whole = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
            try:
                return s3.create_multipart_upload(Bucket=self.bucket, Key=key, **whole, **self.settings.encryption)
            except _errors().ClientError as error:
                if not _errors().refuses_checksum(error):
                    raise
        begun = s3.create_multipart_upload(Bucket=self.bucket, Key=key, **self.settings.encryption)
        self.abilities.crc64 = False
        return begun

    def upload_part(self, upload: Upload, number: int, body: Body) -> UploadedPart:
        query = {"partNumber": str(number), "uploadId": upload.upload_id}
        with self._translating_errors(f"write part {number} of", upload.key):
            sent = self._client.sender.put("UploadPart", upload.key, query, body, {})
        return UploadedPart(number, memoryview(body).nbytes, _bare(sent["ETag"]), sent.get(HEADER))

    def list_parts(self, upload: Upload) -> Iterator[UploadedPart]:
        with self._translating_errors("list the parts of", upload.key):
            for page in self._s3.get_paginator("list_parts").paginate(**self._of(upload)):
                for part in page.get("Parts", ()):
                    checksum = part.get("ChecksumCRC64NVME")
                    yield UploadedPart(part["PartNumber"], part["Size"], _bare(part["ETag"]), checksum)

    def complete_upload(self, upload: Upload, parts: list[UploadedPart]) -> str:
        ordered = sorted(parts, key=lambda p: p.number)
        if not self.abilities.crc64:  # a server may name checksums that it does not take
            ordered = [replace(part, checksum=None) for part in ordered]
        checksum = of_parts(ordered)
        listed = [_completed(part) for part in ordered]
        whole = {"ChecksumCRC64NVME": checksum, "ChecksumType": "FULL_OBJECT"} if checksum else {}
        with self._translating_errors("complete the upload to", upload.key):
            done = self._s3.complete_multipart_upload(**self._of(upload), MultipartUpload={"Parts": listed}, **whole)
            return _bare(done["ETag"])

    def abort_upload(self, upload: Upload) -> None:
        try:
            with self._translating_errors("abort the upload to", upload.key):
                self._s3.abort_multipart_upload(**self._of(upload))
        except NotFound:
            return

    @property
    def _s3(self) -> Any:
        return self._client.boto3

    def _translating_errors(self, verb: str, key: str) -> AbstractContextManager[None]:
        return self._client.translating_errors(f"{verb} {self.url(key)}", self.url(key))

    def _of(self, upload: Upload) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": upload.key, "UploadId": upload.upload_id}


def _completed(part: UploadedPart) -> dict[str, Any]:
    said = {"PartNumber": part.number, "ETag": part.etag}
    return said | ({"ChecksumCRC64NVME": part.checksum} if part.checksum else {})


def _bare(etag: str) -> str:
    return etag.strip('"')


def _unix_time(http_date: str | None) -> float:
    from email.utils import parsedate_to_datetime
    from time import time

    return parsedate_to_datetime(http_date).timestamp() if http_date else time()


def _errors() -> Any:
    """The module that translates botocore's errors, imported with the first request."""
    from genai_pipeline.gateways.store import s3_errors

    return s3_errors
