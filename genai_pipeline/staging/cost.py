"""What the requests of a staging cost at S3. Pure.

The source and S3 charge nothing for bytes into S3, nor S3 for copies within a region; a NAT gateway on the way, or a
copy from another region, costs extra and is not in here. Storage is not either.
"""

from __future__ import annotations

from collections.abc import Mapping

PRICES_OF = "2025-07-01"
PRICES_IN = "us-east-1"
PRICED_BY = f"list price of {PRICES_OF} for S3 Standard in {PRICES_IN}, requests only"
"""Source: Amazon S3 pricing page, "Requests & data retrievals", S3 Standard."""

_USD_PER_1000: Mapping[str, float] = {
    "PutObject": 0.005, "CopyObject": 0.005, "CreateMultipartUpload": 0.005, "UploadPart": 0.005,
    "UploadPartCopy": 0.005, "CompleteMultipartUpload": 0.005, "ListObjectsV2": 0.005, "ListParts": 0.005,
    "ListMultipartUploads": 0.005, "CreateBucket": 0.005, "GetObject": 0.0004, "HeadObject": 0.0004,
    "HeadBucket": 0.0004, "GetObjectAttributes": 0.0004,
}  # fmt: skip
"""Every other operation is free: deletes and aborts are."""


def usd(requests: Mapping[str, int]) -> float:
    """Price of these requests, by operation of S3; reads of the source are free."""
    return sum(_USD_PER_1000.get(operation, 0.0) * count / 1000 for operation, count in requests.items())
