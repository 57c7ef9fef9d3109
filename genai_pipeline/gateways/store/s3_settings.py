"""How an S3 is reached, and which settings of a bucket go into each request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.gateways.bounded_body import SLOWEST_BYTES_PER_S

GIB = 1024**3


@dataclass(frozen=True)
class S3Settings:
    """Everything about an S3 but the name of the bucket.

    Args:
        endpoint: `http://host:port` of another S3; None means Amazon's in `region`.
        access_key, secret_key: None means boto3's own chain (environment, IAM role).
        connections: size of the connection pool; at least the number of parts that are sent at once.
        largest_copy: bytes that one CopyObject may copy (S3: 5 GiB). A larger object is copied in parts of `copy_part`.
        kms_key: id, alias or ARN of the key that encrypts everything written (SSE-KMS with a bucket key); None leaves
            the encryption to the bucket.
        requester_pays: read at this account's cost, as the owner of the bucket demands.
        read_grace_s: seconds of waiting before an answer to a read must come at `slowest_bytes_per_s`.
        sleep: waits between two tries to send a body.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    connections: int = 32
    largest_copy: int = 5 * GIB
    copy_part: int = GIB
    kms_key: str | None = None
    requester_pays: bool = False
    read_grace_s: float = 60.0
    slowest_bytes_per_s: float = SLOWEST_BYTES_PER_S
    sleep: Callable[[float], None] = time.sleep

    @property
    def encryption(self) -> dict[str, Any]:
        """Parameters of every write.

        Source: Amazon S3 User Guide, "Using SSE-KMS", "Reducing cost with S3 Bucket Keys".
        """
        if self.kms_key is None:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key, "BucketKeyEnabled": True}

    @property
    def encryption_headers(self) -> dict[str, str]:
        """The same as HTTP headers. Source: Amazon S3 API reference, "PutObject"."""
        if self.kms_key is None:
            return {}
        name = "x-amz-server-side-encryption"
        return {name: "aws:kms", f"{name}-aws-kms-key-id": self.kms_key, f"{name}-bucket-key-enabled": "true"}

    @property
    def payer(self) -> dict[str, str]:
        """Parameters of every read. Source: Amazon S3 User Guide, "Using Requester Pays buckets"."""
        return payer(self.requester_pays)


def payer(requester_pays: bool) -> dict[str, str]:
    return {"RequestPayer": "requester"} if requester_pays else {}


def bucket_and_key(source: str, bucket: str) -> tuple[str, str]:
    """Return the bucket and the key of an object: a key of `bucket`, or `s3://other-bucket/key`."""
    if not source.startswith("s3://"):
        return bucket, source
    bucket, _, key = source.removeprefix("s3://").partition("/")
    return bucket, key
