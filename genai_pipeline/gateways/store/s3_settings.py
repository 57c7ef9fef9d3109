"""What of a bucket's settings goes into each request."""

from __future__ import annotations

from typing import Any


def encryption(kms_key: str | None) -> dict[str, Any]:
    """Parameters of every write. Source: Amazon S3 User Guide, "Using SSE-KMS", "Reducing cost with S3 Bucket Keys"."""
    if kms_key is None:
        return {}
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key, "BucketKeyEnabled": True}


def encryption_headers(kms_key: str | None) -> dict[str, str]:
    """The same as HTTP headers. Source: Amazon S3 API reference, "PutObject"."""
    if kms_key is None:
        return {}
    name = "x-amz-server-side-encryption"
    return {name: "aws:kms", f"{name}-aws-kms-key-id": kms_key, f"{name}-bucket-key-enabled": "true"}


def payer(requester_pays: bool) -> dict[str, str]:
    """Parameters of every read. Source: Amazon S3 User Guide, "Using Requester Pays buckets"."""
    return {"RequestPayer": "requester"} if requester_pays else {}


def located(source: str, bucket: str) -> tuple[str, str]:
    """Bucket and key of an object: a key of `bucket`, or an object elsewhere as `s3://bucket/key`."""
    if not source.startswith("s3://"):
        return bucket, source
    bucket, _, key = source.removeprefix("s3://").partition("/")
    return bucket, key
