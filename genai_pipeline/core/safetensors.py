"""Checks the header of a safetensors file before the tensors behind it are loaded.

    8 bytes N, little-endian · N bytes of JSON {tensor: {"dtype", "shape", "data_offsets": [begin, end]}} · the tensors

Source: safetensors documentation, "Format"; the same rules as its own reader, which allows no gap and no overlap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import prod
from typing import Any, cast

from genai_pipeline.core.errors import UnsafeFormat

LENGTH_BYTES = 8
LONGEST_HEADER = 32 * 1024 * 1024
"""A header of 100,000 tensors has some 12 MB; the format's own limit of 100 MB would cost a gigabyte to parse."""

_BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits of one element, of every type that the format has."""


def header_length(path: str, start: bytes, size: int) -> int:
    """Return the length of the JSON from the first 8 bytes of a file of `size` bytes. Raises: UnsafeFormat."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or size < LENGTH_BYTES + 2:
        raise _refusal(path, f"it has only {size} bytes")
    if length < 2 or length > size - LENGTH_BYTES:
        raise _refusal(path, f"its first 8 bytes promise a header of {length} bytes in a file of {size}")
    if length > LONGEST_HEADER:
        raise _refusal(path, f"its header of {length} bytes is longer than {LONGEST_HEADER}")
    return length


def check_header(path: str, header: bytes, size: int) -> None:
    """Check the JSON of a file of `size` bytes. Raises: UnsafeFormat: it names the fault and the tensor."""
    tensors = _parsed(path, header)
    data_bytes = size - LENGTH_BYTES - len(header)
    spans = sorted(_span(path, name, tensor) for name, tensor in tensors.items())
    at = 0
    for begin, end, name in spans:
        if begin != at:
            what = "overlaps the one before it" if begin < at else "leaves a gap before it"
            raise _refusal(path, f"tensor {name!r} {what} (bytes {begin} to {end}, expected from {at})")
        at = end
    if at != data_bytes:
        raise _refusal(path, f"its tensors take {at} bytes, and {data_bytes} follow the header")


def _parsed(path: str, header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise _refusal(path, "its header does not start with '{'")
    try:
        tensors: Any = json.loads(header, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"its header is not JSON ({error})") from None
    if not isinstance(tensors, dict):
        raise _refusal(path, "its header is not a mapping of tensors")
    found = cast(dict[str, Any], tensors)
    metadata: Any = found.pop("__metadata__", None)
    if metadata is not None and not _maps_strings(metadata):
        raise _refusal(path, "its __metadata__ is not a mapping of strings to strings")
    return found


def _without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} stands in it twice")
        found[key] = value
    return found


def _maps_strings(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(part, str) for pair in cast(dict[Any, Any], value).items() for part in pair
    )


def _span(path: str, name: str, tensor: Any) -> tuple[int, int, str]:
    try:
        dtype, shape, (begin, end) = tensor["dtype"], list(tensor["shape"]), tensor["data_offsets"]
        whole = all(type(n) is int and n >= 0 for n in [*shape, begin, end])
    except (TypeError, KeyError, ValueError):
        raise _refusal(path, f"tensor {name!r} is not described by dtype, shape and data_offsets") from None
    if not whole or begin > end:
        raise _refusal(path, f"tensor {name!r} has shape {shape} and offsets [{begin}, {end}]")
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise _refusal(path, f"tensor {name!r} has the element type {dtype!r}, which the format does not have")
    if prod(shape) * bits != (end - begin) * 8:
        raise _refusal(path, f"tensor {name!r} of {dtype} {shape} does not take {end - begin} bytes")
    return begin, end, name


def _refusal(path: str, why: str) -> UnsafeFormat:
    shown = why if len(why) <= 300 else f"{why[:300]} …"
    return UnsafeFormat(
        f"{path} is not a safetensors file: {shown}.",
        "Publish it again with safetensors, or leave it out by `exclude`.",
    )
