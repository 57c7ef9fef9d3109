"""Copies that S3 makes by itself, of any size, within a bucket or from another one."""

from __future__ import annotations

from typing import Any

from genai_pipeline.core.errors import StoreConflict
from genai_pipeline.gateways.store.abc import ObjectStore, UploadedPart
from genai_pipeline.gateways.store.s3_client import S3Client
from genai_pipeline.gateways.store.s3_settings import S3Settings, bucket_and_key, payer
from genai_pipeline.gateways.threads import each

COPY_THREADS = 8


def copy_object(
    store: ObjectStore, s3: S3Client, settings: S3Settings, source: str, target: str, etag: str | None
) -> str:
    """Copy `source` to the key `target` of `store`, and return the ETag of the copy.

    Args:
        source: a key of `store`, or `s3://bucket/key`.
        etag: the ETag that the source must have; None means the one that it has now.
    Raises: StoreConflict: the source has another ETag, or changes while it is copied.
    """
    bucket, key = bucket_and_key(source, store.bucket)
    other = payer(bucket != store.bucket)  # without effect where the owner pays
    with s3.translating_errors(f"copy {store.url(source)}", store.url(source)):
        found = s3.boto3.head_object(Bucket=bucket, Key=key, **other)
    if etag not in (None, found["ETag"].strip('"')):
        raise StoreConflict(
            f"{store.url(source)} was changed by another process meanwhile.", "Read it again and retry."
        )
    origin = {"CopySource": {"Bucket": bucket, "Key": key}, "CopySourceIfMatch": found["ETag"], **other}
    if found["ContentLength"] > settings.largest_copy:
        return _in_parts(store, s3, origin, found["ContentLength"], target, settings.copy_part)
    with s3.translating_errors(f"copy to {store.url(target)}", store.url(target)):
        done = s3.boto3.copy_object(Bucket=store.bucket, Key=target, **origin, **settings.encryption)
        return done["CopyObjectResult"]["ETag"].strip('"')


def _in_parts(store: ObjectStore, s3: S3Client, origin: dict[str, Any], size: int, target: str, part_size: int) -> str:
    upload = store.begin_upload(target)
    place = {"Bucket": store.bucket, "Key": target, "UploadId": upload.upload_id}

    def copy_part(number: int) -> UploadedPart:
        start, end = (number - 1) * part_size, min(number * part_size, size)
        with s3.translating_errors(f"copy to {store.url(target)}", store.url(target)):
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
