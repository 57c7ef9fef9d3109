"""The manifest of a staged model. It is written last; the model exists once it is there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 2
"""Format 1, without tool, part sizes and checksums, is still read."""

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class ManifestFile:
    """One verified file. `sha256` is the digest of the bytes that were sent to the store.

    Attributes:
        part_size: bytes of each part but the last of its multipart upload, or None for a single put or copy.
        checksum: ``crc64nvme:<base64>`` over the whole file, which S3 tells without the file being read.
        blob_id: git's id of the content, for a file of which the hub publishes nothing else.
    """

    path: str
    size: int
    sha256: str
    etag: str
    part_size: int | None = None
    checksum: str | None = None
    blob_id: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The files under `models/<name>/<revision>/`, verified against their source.

    `tool` is the program and version that wrote it, `written_by` who ran it, `written_at` UTC in ISO 8601.
    """

    model: str
    source: str
    revision: str
    files: tuple[ManifestFile, ...]
    written_by: str
    written_at: str
    tool: str = ""
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        return sum(f.size for f in self.files)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Manifest:
        """Raises: ValueError, KeyError, TypeError: it is not a manifest, or of a format newer than FORMAT."""
        data: dict[str, Any] = json.loads(body)
        if not isinstance(data["format"], int) or not 1 <= data["format"] <= FORMAT:
            raise ValueError(f"format {data['format']!r} is not one of 1 to {FORMAT}")
        files = tuple(ManifestFile(**f) for f in data.pop("files"))
        return cls(files=files, **data)


def staged_prefix(model: str, revision: str) -> str:
    """Return the key prefix of a staged model, with its trailing slash."""
    return f"models/{model}/{revision}/"


def manifest_key(model: str, revision: str) -> str:
    return staged_prefix(model, revision) + MANIFEST_NAME
