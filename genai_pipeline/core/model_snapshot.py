"""The files of one revision of a model repository, as the hub publishes them."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.formats import Format, format_of
from genai_pipeline.core.weights_layout import Layout


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
class LeftOut:
    """A file that the model file selects, and that is not staged, because an engine would load it by mistake."""

    file: SnapshotFile
    why: str


@dataclass(frozen=True)
class Snapshot:
    """Everything about one revision that staging and the checks of m/snapshot need.

    `files` are those that the model file selects without those that are `left_out`, and `formats` the weights that it
    allows among them. `layout` says what an engine loads, or None where the indexes could not be read.
    """

    source: str
    revision: str
    files: tuple[SnapshotFile, ...]
    licence: str | None = None
    gated: bool = False
    formats: tuple[Format, ...] = ("safetensors",)
    left_out: tuple[LeftOut, ...] = ()
    layout: Layout | None = None

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
