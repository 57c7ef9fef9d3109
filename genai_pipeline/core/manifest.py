"""The manifest: written last, it is what makes a staged model exist."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

FORMAT = 1
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class ManifestFile:
    """One verified file: `sha256` is over its bytes as they were sent to the store."""

    path: str
    size: int
    sha256: str
    etag: str


@dataclass(frozen=True)
class Manifest:
    """What stands under `models/<name>/<revision>/`, verified against the hub."""

    model: str
    source: str
    revision: str
    files: tuple[ManifestFile, ...]
    written_by: str
    written_at: str
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        return sum(f.size for f in self.files)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> Manifest:
        data: dict[str, Any] = json.loads(body)
        files = tuple(ManifestFile(**f) for f in data.pop("files"))
        return cls(files=files, **data)


def staged_prefix(model: str, revision: str) -> str:
    """Key prefix of a staged model, with its trailing slash."""
    return f"models/{model}/{revision}/"


def manifest_key(model: str, revision: str) -> str:
    return staged_prefix(model, revision) + MANIFEST_NAME
