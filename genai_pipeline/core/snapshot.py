"""A snapshot: the files of one revision of a model repository, as the hub publishes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from genai_pipeline.core.errors import IncompleteModel

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
"""Formats that Python unpickles on load, which can run code (Hugging Face docs, "Pickle Scanning")."""

INDEX_NAME = "model.safetensors.index.json"


@dataclass(frozen=True)
class SnapshotFile:
    """One file: `sha256` where the hub publishes it (LFS), else only the git `blob_id` (sha1)."""

    path: str
    size: int
    blob_id: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything about one revision that staging and the checks of m/snapshot need."""

    source: str
    revision: str
    files: tuple[SnapshotFile, ...]
    licence: str | None = None
    gated: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(f.size for f in self.files)

    @property
    def pickles(self) -> tuple[str, ...]:
        return tuple(f.path for f in self.files if f.path.lower().endswith(PICKLE_SUFFIXES))

    @property
    def safetensors(self) -> tuple[str, ...]:
        return tuple(f.path for f in self.files if f.path.endswith(".safetensors"))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Snapshot:
        files = tuple(SnapshotFile(**f) for f in data["files"])
        return cls(data["source"], data["revision"], files, data.get("licence"), data.get("gated", False))


def shards_named_by(index: bytes) -> frozenset[str]:
    """The shard files that a `model.safetensors.index.json` names.

    Raises: IncompleteModel: the index is not JSON with a `weight_map`.
    Source: transformers documentation, "Sharded checkpoints".
    """
    try:
        return frozenset(json.loads(index)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IncompleteModel(
            f"{INDEX_NAME} is not a safetensors index ({error}).", "Pin another `source.ref` in the model file."
        ) from error
