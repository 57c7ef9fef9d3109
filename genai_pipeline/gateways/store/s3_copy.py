"""Copies that S3 makes by itself, of any size, within a bucket or from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_pipeline.core.errors import StoreConflict
from genai_pipeline.gateways.store.abc import UploadedPart
from genai_pipeline.gateways.store.s3_client import S3Client
from genai_pipeline.gateways.store.s3_settings import located, payer
from genai_pipeline.gateways.threads import each

if TYPE_CHECKING:
    from genai_pipeline.gateways.store.s3 import S3Store

COPY_THREADS = 8


def copy(
    store: S3Store, s3: S3Client, source: str, target: str, etag: str | None, largest: int, part_size: int,
    **settings: Any,
) -> str:  # fmt: skip
    """The ETag of the copy; `source` that changes meanwhile ends it. `settings` go into a copy in one piece.

    Args:
        etag: what the source's must be; None means the one that it has now.
        largest: bytes that one CopyObject may copy; above, parts of `part_size` are copied.
    """
    bucket, key = located(source, store.bucket)
    other = payer(bucket != store.bucket)  # harmless where its owner pays
    with s3.asked(f"copy {store.url(source)}", store.url(source)):
        found = s3.boto3.head_object(Bucket=bucket, Key=key, **other)
    if etag not in (None, found["ETag"].strip('"')):
        raise StoreConflict(f"{store.url(source)} was changed by somebody else meanwhile.", "Read it again and retry.")
    origin = {"CopySource": {"Bucket": bucket, "Key": key}, "CopySourceIfMatch": found["ETag"], **other}
    if found["ContentLength"] > largest:
        return _in_parts(store, s3, origin, found["ContentLength"], target, part_size)
    with s3.asked(f"copy to {store.url(target)}", store.url(target)):
        done = s3.boto3.copy_object(Bucket=store.bucket, Key=target, **origin, **settings)
        return done["CopyObjectResult"]["ETag"].strip('"')


def _in_parts(store: S3Store, s3: S3Client, origin: dict[str, Any], size: int, target: str, part_size: int) -> str:
    upload = store.begin_upload(target)
    place = {"Bucket": store.bucket, "Key": target, "UploadId": upload.upload_id}

    def copy_part(number: int) -> UploadedPart:
        start, end = (number - 1) * part_size, min(number * part_size, size)
        with s3.asked(f"copy to {store.url(target)}", store.url(target)):
            done = s3.boto3.upload_part_copy(
                **place, PartNumber=number, CopySourceRange=f"bytes={start}-{end - 1}", **origin
            )["CopyPartResult"]
        return UploadedPart(number, end - start, done["ETag"].strip('"'), done.get("ChecksumCRC64NVME"))

    try:
        parts = each(copy_part, range(1, -(-size // part_size) + 1), COPY_THREADS, "copy")
        return store.complete_upload(upload, parts)
    except BaseException:
        store.abort_upload(upload)
        raise
