"""Where sessions are kept, as the setting AGENT_SESSIONS says it."""

from __future__ import annotations

import re

MEMORY, FILE, S3 = "memory", "file", "s3"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()/-]{0,512}")


def parse_place(text: str) -> tuple[str, str]:
    """Kind and place: ("s3", "bucket/prefix"). Raises: ValueError: with what may be written."""
    if text == MEMORY:
        return MEMORY, ""
    if text.startswith("file:") and (folder := text.removeprefix("file:").removeprefix("//")):
        return FILE, folder
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        if _BUCKET.fullmatch(bucket) and _PREFIX.fullmatch(prefix):
            return S3, f"{bucket}/{prefix}"
    raise ValueError("must be memory, file:<folder> or s3://<bucket>/<prefix>.")
