"""Safetensors files made of given bytes, with a header of a fixed size so that tests can count."""

from __future__ import annotations

import json

HEADER_BYTES = 128
"""Of the whole header, its 8 bytes of length included."""


def safetensors(data: bytes) -> bytes:
    """A file of HEADER_BYTES + len(data) bytes that holds one tensor."""
    header = {"weight": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    text = json.dumps(header, separators=(",", ":")).encode().ljust(HEADER_BYTES - 8)
    return len(text).to_bytes(8, "little") + text + data


def safetensors_of(size: int, content: bytes = b"w") -> bytes:
    """A file of exactly `size` bytes, whose tensor repeats `content`."""
    length = size - HEADER_BYTES
    return safetensors((content * (length // len(content) + 1))[:length])
