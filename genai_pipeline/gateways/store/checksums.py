"""CRC-64/NVME of parts and of whole objects. S3 computes it over what it stores, and compares it with the sender's.

Measured on one core: CRC-64/NVME 19 GiB/s, sha256 0.5 to 1.5, MD5 0.3 to 0.6. Beside the sha256 that the hub publishes,
it costs nothing. Source: Amazon S3 User Guide, "Checking object integrity".
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from genai_pipeline.gateways.store.abc import Body, UploadedPart

ALGORITHM = "crc64nvme"
HEADER = f"x-amz-checksum-{ALGORITHM}"
_BYTES = 8


def crc64nvme(body: Body) -> str:
    """Return the checksum in base64, as S3 writes it."""
    return Crc64().update(body).text


class Crc64:
    """The running checksum of bytes as they come."""

    def __init__(self) -> None:
        from awscrt import checksums  # 30 ms of import that definitions must not pay

        self._add: Any = checksums.crc64nvme  # it takes any buffer, whatever its annotation says
        self._so_far = 0

    def update(self, body: Body) -> Crc64:
        self._so_far = self._add(body, self._so_far)
        return self

    @property
    def text(self) -> str:
        """In base64."""
        return _text(self._so_far)


def of_parts(parts: Sequence[UploadedPart]) -> str | None:
    """Return the checksum of the whole object from those of its parts in order, or None if a part lacks one."""
    from awscrt import checksums

    whole = 0
    for part in parts:
        if part.checksum is None:
            return None
        whole = checksums.combine_crc64nvme(whole, _number(part.checksum), part.size)
    return _text(whole)


def md5(body: Body) -> str:
    """Return the MD5 in base64, as Content-MD5 needs it, for servers that know no other checksum."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def is_body(part: UploadedPart, body: Body) -> bool:
    """Return whether S3 keeps exactly `body` as this part, by the checksum that it lists, else by the ETag.

    An ETag is the MD5 of a part unless the bucket encrypts with KMS; then the answer is no, and the part is sent again.
    """
    if part.size != memoryview(body).nbytes:
        return False
    if part.checksum is not None:
        return part.checksum == crc64nvme(body)
    return part.etag == hashlib.md5(body, usedforsecurity=False).hexdigest()


def _text(number: int) -> str:
    return base64.b64encode(number.to_bytes(_BYTES, "big")).decode()


def _number(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "big")
