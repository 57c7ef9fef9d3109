"""S3 and whatever speaks its protocol, through boto3.

boto3 is imported at the first call, not at import: half a second that definitions must not pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from typing import Any

from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict, StoreUnavailable
from genai_pipeline.gateways.discretion import keep_secrets_out_of_logs
from genai_pipeline.gateways.store.abc import CHUNK, Body, ObjectStore, StoredObject, Upload, UploadedPart
from genai_pipeline.gateways.store.checksums import HEADER, of_parts
from genai_pipeline.gateways.store.s3_client import S3Client
from genai_pipeline.gateways.store.s3_copy import copy
from genai_pipeline.gateways.store.s3_settings import encryption, encryption_headers, located, payer

GIB = 1024**3
READ_ATTEMPTS = 4
"""In a row without as much as `s3_pace.py` asks of one."""
LEAST_READ = 2 * 1024**2


class S3Store(ObjectStore):
    """One bucket of an S3. Thread-safe; constructing it costs nothing and asks nobody.

    Args:
        endpoint: ``http://host:port`` of another S3; None means AWS's own in `region`.
        access_key, secret_key: None means boto3's own chain (environment, IAM role).
        connections: size of the connection pool; at least the parts sent at once.
        largest_copy: bytes that one CopyObject may copy (S3: 5 GiB); above, parts of `copy_part` are copied.
        kms_key: id, alias or ARN of the key that everything written here is encrypted with (SSE-KMS, with a bucket
            key); None leaves it to the bucket.
        requester_pays: read at this account's cost, which the bucket's owner asks for.
    """

    def __init__(
        self,
        bucket: str,
        endpoint: str | None = None,
        region: str = "us-east-1",
        access_key: str | None = None,
        secret_key: str | None = None,
        connections: int = 32,
        largest_copy: int = 5 * GIB,
        copy_part: int = GIB,
        kms_key: str | None = None,
        requester_pays: bool = False,
    ) -> None:
        keep_secrets_out_of_logs()
        self.bucket = bucket
        self.endpoint = endpoint
        self._region = region
        self._keys = (access_key, secret_key)
        self._client = S3Client(bucket, endpoint, region, self._keys, connections)
        self._largest_copy = largest_copy
        self._copy_part = copy_part
        self._encrypted = encryption(kms_key)
        self._paid = payer(requester_pays)
        self._kms_headers = encryption_headers(kms_key)

    def __repr__(self) -> str:
        return f"S3Store({self.bucket!r}, {self.endpoint!r})"

    def requests(self) -> Mapping[str, int]:
        return dict(self._client.requests)

    def url(self, key: str) -> str:
        return "s3://{}/{}".format(*located(key, self.bucket))

    def elsewhere(self, bucket: str, region: str | None, endpoint: str | None, requester_pays: bool = False) -> S3Store:
        place = (endpoint or self.endpoint, region or self._region)
        return S3Store(bucket, *place, *self._keys, requester_pays=requester_pays)

    def head(self, key: str) -> StoredObject | None:
        try:
            with self._asked("look up", key):
                found = self._s3.head_object(Bucket=self.bucket, Key=key, **self._paid)
        except NotFound:
            return None
        return StoredObject(key, found["ContentLength"], _bare(found["ETag"]), found["LastModified"].timestamp())

    def get(self, key: str) -> tuple[bytes, str]:
        with self._asked("read", key):
            found = self._s3.get_object(Bucket=self.bucket, Key=key, **self._paid)
            return found["Body"].read(), _bare(found["ETag"])

    def read(self, key: str, start: int = 0, end: int | None = None, etag: str | None = None) -> Iterator[bytes]:
        """Bytes [start, end) in chunks; a broken connection is resumed where it broke, on the same object.

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
                    with self._asked("read", key):
                        raise error

    def _stream(self, key: str, start: int, end: int | None, condition: dict[str, str]) -> Iterator[tuple[bytes, str]]:
        wanted = {} if start == 0 and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        with self._asked("read", key):
            found = self._s3.get_object(Bucket=self.bucket, Key=key, **wanted, **condition, **self._paid)
        # Raised behind the last byte. Whoever reads this way compares a sha256, and not each S3 has right checksums.
        with closing(found["Body"]) as body, suppress(_errors().WRONG_CHECKSUM):
            for chunk in body.iter_chunks(CHUNK):
                yield chunk, found["ETag"]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._asked("list", prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, **self._paid)
            for page in pages:
                for found in page.get("Contents", ()):
                    modified_at = found["LastModified"].timestamp()
                    yield StoredObject(found["Key"], found["Size"], _bare(found["ETag"]), modified_at)

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        with self._asked("list the uploads of", prefix):
            for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Uploads", ()):
                    yield Upload(found["Key"], found["UploadId"], found["Initiated"].timestamp())

    def now(self) -> float:
        with self._asked("look up", ""):
            return _unix_time(self._s3.head_bucket(Bucket=self.bucket)["ResponseMetadata"]["HTTPHeaders"].get("date"))

    def exists(self) -> bool:
        try:
            with self._asked("look up", ""):
                self._s3.head_bucket(Bucket=self.bucket)
        except NotFound:
            return False
        return True

    def ensure_bucket(self) -> None:
        if self.exists():
            return
        with self._asked("create", ""):
            elsewhere = self.endpoint is None and self._region != "us-east-1"  # us-east-1 refuses its own name
            place = {"CreateBucketConfiguration": {"LocationConstraint": self._region}} if elsewhere else {}
            try:
                self._s3.create_bucket(Bucket=self.bucket, **place)
            except _errors().ClientError as error:
                if _errors().code_of(error) != "BucketAlreadyOwnedByYou":
                    raise

    def put(self, key: str, body: bytes) -> str:
        with self._asked("write", key):
            return _bare(self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, **self._encrypted)["ETag"])

    def put_file(self, key: str, body: Body) -> str:
        with self._asked("write", key):
            return _bare(self._client.sender.put("PutObject", key, {}, body, self._kms_headers)["ETag"])

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
        with self._asked("write", key):
            try:
                wanted = {**condition, **self._encrypted}
                return _bare(self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, **wanted)["ETag"])
            except _errors().ClientError as error:
                # The answer to our own first try may have been lost, and the client's retry then met that object.
                if _errors().is_conflict(error) and error.response["ResponseMetadata"].get("RetryAttempts"):
                    there, etag = self.get(key)
                    if there == body:
                        return etag
                raise

    def delete(self, key: str) -> None:
        with self._asked("delete", key):
            self._s3.delete_object(Bucket=self.bucket, Key=key)

    def delete_many(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        listed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        with self._asked(f"delete {len(keys)} objects like", keys[0]):
            done = self._s3.delete_objects(Bucket=self.bucket, Delete=listed)
        for refused in done.get("Errors", ()):  # the request as a whole succeeds all the same
            raise StoreUnavailable(
                f"The object store did not delete {self.url(refused['Key'])} ({refused.get('Code', 'no reason')}).",
                "Run this again; if it repeats, s3:DeleteObject is denied or the object is locked.",
            )

    def copy(self, source: str, target: str, etag: str | None = None) -> str:
        limits = {"largest": self._largest_copy, "part_size": self._copy_part}
        return copy(self, self._client, source, target, etag, **limits, **self._encrypted)

    def begin_upload(self, key: str) -> Upload:
        with self._asked("start an upload to", key):
            begun = self._begin(key)
            date = begun["ResponseMetadata"]["HTTPHeaders"].get("date")
            return Upload(key, begun["UploadId"], _unix_time(date))

    def _begin(self, key: str) -> Any:
        """With a checksum over the whole object; a server that refuses this is not asked for it again."""
        sender = self._client.sender
        if sender.with_crc64:
            whole = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
            try:
                return self._s3.create_multipart_upload(Bucket=self.bucket, Key=key, **whole, **self._encrypted)
            except _errors().ClientError as error:
                if not _errors().refuses_checksum(error):
                    raise
        begun = self._s3.create_multipart_upload(Bucket=self.bucket, Key=key, **self._encrypted)
        sender.with_crc64 = False
        return begun

    def upload_part(self, upload: Upload, number: int, body: Body) -> UploadedPart:
        query = {"partNumber": str(number), "uploadId": upload.upload_id}
        with self._asked(f"write part {number} of", upload.key):
            sent = self._client.sender.put("UploadPart", upload.key, query, body, {})
        return UploadedPart(number, memoryview(body).nbytes, _bare(sent["ETag"]), sent.get(HEADER))

    def list_parts(self, upload: Upload) -> Iterator[UploadedPart]:
        with self._asked("list the parts of", upload.key):
            for page in self._s3.get_paginator("list_parts").paginate(**self._of(upload)):
                for part in page.get("Parts", ()):
                    checksum = part.get("ChecksumCRC64NVME")
                    yield UploadedPart(part["PartNumber"], part["Size"], _bare(part["ETag"]), checksum)

    def complete_upload(self, upload: Upload, parts: list[UploadedPart]) -> str:
        ordered = sorted(parts, key=lambda p: p.number)
        checksum = of_parts(ordered)
        listed = [_completed(part) for part in ordered]
        whole = {"ChecksumCRC64NVME": checksum, "ChecksumType": "FULL_OBJECT"} if checksum else {}
        with self._asked("complete the upload to", upload.key):
            done = self._s3.complete_multipart_upload(**self._of(upload), MultipartUpload={"Parts": listed}, **whole)
            return _bare(done["ETag"])

    def abort_upload(self, upload: Upload) -> None:
        try:
            with self._asked("abort the upload to", upload.key):
                self._s3.abort_multipart_upload(**self._of(upload))
        except NotFound:
            return

    @property
    def _s3(self) -> Any:
        return self._client.boto3

    def _asked(self, verb: str, key: str) -> AbstractContextManager[None]:
        return self._client.asked(f"{verb} {self.url(key)}", self.url(key))

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
    """botocore's errors and what we make of them; imported when the first request is."""
    from genai_pipeline.gateways.store import s3_errors

    return s3_errors
