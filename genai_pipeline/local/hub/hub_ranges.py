"""Which bytes a Range header asks for. Source: RFC 9110, 14.1 and 14.2."""

from __future__ import annotations

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Unsatisfiable(ValueError):
    """No byte of the range exists: the answer is 416."""


@dataclass(frozen=True)
class ByteRange:
    """Bytes [start, end) of `size`."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def byte_range(header: str | None, size: int) -> ByteRange | None:
    """The range asked for, or None for the whole file: no header, several ranges, or one that is not a range.

    Raises: Unsatisfiable: it starts behind the last byte.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise Unsatisfiable(f"{header} of {size} bytes")
    return ByteRange(start, end, size)
