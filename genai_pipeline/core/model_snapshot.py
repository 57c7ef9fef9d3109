"""The files of one revision of a model repository, as the hub publishes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from genai_pipeline.core.errors import IncompleteModel
from genai_pipeline.core.formats import Format, format_of

INDEX_NAME = "model.safetensors.index.json"
TAKE_WHOLE = "Nothing was staged. Set `source.ref` in the model file to a complete revision."


@dataclass(frozen=True)
class SnapshotFile:
    """One file: `sha256` where the hub publishes it (LFS), else only the git `blob_id` (sha1).

    `copy_of` is where the bucket's own server can copy it from, as `s3://bucket/key`, while its ETag is `copy_etag`.
    """

    path: str
    size: int
    blob_id: str | None = None
    sha256: str | None = None
    copy_of: str | None = None
    copy_etag: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything about one revision that staging and the checks of m/snapshot need.

    `files` are those that the model file selects, and `formats` the weights that it allows among them.
    """

    source: str
    revision: str
    files: tuple[SnapshotFile, ...]
    licence: str | None = None
    gated: bool = False
    formats: tuple[Format, ...] = ("safetensors",)

    @property
    def size_bytes(self) -> int:
        return sum(f.size for f in self.files)

    @property
    def weights(self) -> tuple[str, ...]:
        """Paths of the weights, in any format."""
        return tuple(f.path for f in self.files if format_of(f.path))

    @property
    def safetensors(self) -> tuple[str, ...]:
        return tuple(f.path for f in self.files if format_of(f.path) == "safetensors")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        files = tuple(SnapshotFile(**f) for f in data["files"])
        formats = tuple(data.get("formats", ("safetensors",)))
        return cls(data["source"], data["revision"], files, data.get("licence"), data.get("gated", False), formats)


def shards_named_by(index: bytes, path: str = INDEX_NAME) -> frozenset[str]:
    """Return the shard files that a `….safetensors.index.json` names, relative to its folder.

    Raises: IncompleteModel: the index is not JSON with a `weight_map` of tensors to files.
    Source: transformers documentation, "Sharded checkpoints".
    """
    try:
        shards: Any = json.loads(index)["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_index(path, f"{type(error).__name__}: {error}") from error
    named = list(shards)
    if not named or not all(isinstance(shard, str) and shard for shard in named):
        raise _no_index(path, "its weight_map maps no tensor to a file")
    return frozenset(named)


def _no_index(path: str, why: str) -> IncompleteModel:
    return IncompleteModel(f"{path} is not a safetensors index ({why}).", TAKE_WHOLE)
