"""Computes what a staging costs at S3: its requests, and the storage of what it staged. Pure.

Bytes into S3 and copies within a region are free. The price of requests leaves out NAT gateways, and copies from
another region.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from genai_pipeline.staging.meter import TransferMethod

GIB = 1024**3
LARGEST_COPY, COPY_PART = 5 * GIB, GIB
MOST_PARTS = 10_000
"""Source: Amazon S3 User Guide, "Multipart upload limits" and "Copying objects"; parts as `S3Store` makes them."""

PRICES_OF = "2025-07-01"
PRICES_IN = "us-east-1"
PRICED_BY = f"list price of {PRICES_OF} for S3 Standard in {PRICES_IN}, requests only"
"""Source: Amazon S3 pricing page, "Requests & data retrievals", S3 Standard."""

USD_PER_GIB_MONTH = 0.023
STORAGE_PRICED_BY = f"list price of {PRICES_OF} for S3 Standard in {PRICES_IN}, the first 50 TB"
"""Source: Amazon S3 pricing page, "Storage & requests", S3 Standard. A GB is 2**30 bytes on Amazon's bills."""

_USD_PER_1000: Mapping[str, float] = {
    "PutObject": 0.005, "CopyObject": 0.005, "CreateMultipartUpload": 0.005, "UploadPart": 0.005,
    "UploadPartCopy": 0.005, "CompleteMultipartUpload": 0.005, "ListObjectsV2": 0.005, "ListParts": 0.005,
    "ListMultipartUploads": 0.005, "CreateBucket": 0.005, "GetObject": 0.0004, "HeadObject": 0.0004,
    "HeadBucket": 0.0004, "GetObjectAttributes": 0.0004,
}  # fmt: skip
"""Every other operation is free, such as deletes and aborts."""


def usd(requests: Mapping[str, int]) -> float:
    """Return the price of requests, given by operation of S3. Reads of the source are free."""
    return sum(_USD_PER_1000.get(operation, 0.0) * count / 1000 for operation, count in requests.items())


def storage_usd_per_month(size_bytes: int) -> float:
    """Return what Amazon S3 takes for keeping so many bytes for a month."""
    return size_bytes / GIB * USD_PER_GIB_MONTH


def planned_requests(files: Iterable[tuple[int, TransferMethod]], part_size: int) -> Counter[str]:
    """Return the requests to S3 that a staging needs if no request is retried.

    Args:
        files: size in bytes and method of each file.
    """
    # Its lease, the listings it plans by, and the manifest.
    counted = Counter({"HeadBucket": 1, "PutObject": 2, "ListObjectsV2": 3, "GetObject": 1})
    for size, how in files:
        if how is TransferMethod.COPIED:
            counted.update(_copied(size))
        if how is not TransferMethod.STREAMED:
            counted["GetObject"] += 1  # it is read back, and its digest compared
        elif size <= part_size:
            counted["PutObject"] += 1
        else:
            parts = math.ceil(size / max(part_size, math.ceil(size / MOST_PARTS)))
            counted.update({"CreateMultipartUpload": 1, "UploadPart": parts, "CompleteMultipartUpload": 1})
    return counted


def _copied(size: int) -> Mapping[str, int]:
    if size <= LARGEST_COPY:
        return {"CopyObject": 1}
    return {"CreateMultipartUpload": 1, "UploadPartCopy": math.ceil(size / COPY_PART), "CompleteMultipartUpload": 1}
