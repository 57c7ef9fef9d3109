"""Recognizes formats of weights by the suffix of the name, and pickles by the first bytes."""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from genai_pipeline.core.errors import UnsafeFormat
from genai_pipeline.core.safetensors import LENGTH_BYTES, check_header, header_length

Format = Literal["safetensors", "gguf", "onnx", "flax", "keras", "pickle"]

SUFFIXES: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {
        "safetensors": (".safetensors",),
        "gguf": (".gguf",),
        "onnx": (".onnx", ".onnx_data"),
        "flax": (".msgpack",),
        "keras": (".h5", ".hdf5", ".keras", ".pb", ".tflite"),
        "pickle": (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".dill", ".nemo"),
    }
)
"""Read into tensors. Pickles run code on load (Hugging Face docs, "Pickle Scanning"), as Keras's layers do."""

ZIP_HEAD_BYTES = 128
"""The bytes of a zip that contain its first name."""

LARGEST_HEAD = 64 * 1024
"""The bytes that `refuse_disguised` looks at: the whole header of most safetensors files."""

_PROTOCOLS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))


def format_of(path: str) -> Format | None:
    """Return the format of a file of weights by its name, or None for other files."""
    return next((name for name, suffixes in SUFFIXES.items() if path.lower().endswith(suffixes)), None)


def is_pickle(head: bytes) -> bool:
    """Return whether a file with this start is a pickle, or a zip of torch.save.

    Source: Python's pickletools (PROTO, protocols 2 to 5); PyTorch, "Serialized file format for torch.save".
    """
    if head.startswith(b"PK\x03\x04"):
        return b"data.pkl" in head[:ZIP_HEAD_BYTES]
    return head.startswith(_PROTOCOLS) and _is_disassembled(head)


def _is_disassembled(head: bytes) -> bool:
    """Return whether all bytes are instructions of a pickle, up to its end or the cut."""
    try:
        for _ in pickletools.genops(head):
            pass
    except UnicodeDecodeError:
        return False
    except ValueError as error:
        return "unknown" not in str(error)  # otherwise it is cut off
    return True


def refuse_disguised(path: str, head: bytes, size: int) -> None:
    """Refuse a file of `size` bytes that starts with `head` and has another format than its name says.

    Raises: UnsafeFormat: a pickle under another name, or a broken safetensors file.
    """
    named = format_of(path)
    if named == "safetensors":
        length = header_length(path, head, size)
        if head[LENGTH_BYTES:] and len(head) >= LENGTH_BYTES + length:
            check_header(path, head[LENGTH_BYTES : LENGTH_BYTES + length], size)
    elif named != "pickle" and is_pickle(head):
        raise UnsafeFormat(
            f"{path} is a pickle by its first bytes, which runs code on load.",
            "Publish it as safetensors, or leave it out by `source.exclude`.",
        )
