"""What the hub says of files: git blob ids, sha256 and commit shas, all from the bytes alone.

Small text is a git blob; weights and whatever is large are LFS, so that git holds a pointer and the hub publishes
the sha256 (git-lfs, "Specification"). Nothing here is stored: a digest is kept in memory for as long as the file's
size and time of change stay the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LFS_FROM_BYTES = 1_000_000
LFS_SUFFIXES = (".safetensors",)
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class LfsPointer:
    """What git holds in place of a large file."""

    sha256: str
    size: int

    @property
    def text(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()


@dataclass(frozen=True)
class HubFile:
    """One file of a revision. `blob_id` is git's; `lfs` is set for large files, whose blob is the pointer."""

    path: str
    size: int
    blob_id: str
    on_disk: Path
    lfs: LfsPointer | None = None
    mtime_ns: int = 0

    @property
    def etag(self) -> str:
        return self.lfs.sha256 if self.lfs else self.blob_id

    @property
    def unchanged(self) -> bool:
        """Return whether the file on disk is as old and as large as when it was described."""
        try:
            stat = self.on_disk.stat()
        except OSError:
            return False
        return (stat.st_mtime_ns, stat.st_size) == (self.mtime_ns, self.size)


def files_under(folder: Path) -> dict[str, HubFile]:
    """Every regular file, by its path from the folder, sorted. Links are left out: they could lead anywhere."""
    found: dict[str, HubFile] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not Path(parent, name).is_symlink()]
        for name in names:
            file = Path(parent, name)
            if file.is_file() and not file.is_symlink():
                path = file.relative_to(folder).as_posix()
                found[path] = hub_file(path, file)
    return dict(sorted(found.items()))


def hub_file(path: str, on_disk: Path) -> HubFile:
    """Describe one file."""
    stat = on_disk.stat()
    blob_id, sha256 = _digests(on_disk, stat.st_mtime_ns, stat.st_size)
    if path.endswith(LFS_SUFFIXES) or stat.st_size > LFS_FROM_BYTES:
        pointer = LfsPointer(sha256, stat.st_size)
        return HubFile(path, stat.st_size, git_blob_id(pointer.text), on_disk, pointer, stat.st_mtime_ns)
    return HubFile(path, stat.st_size, blob_id, on_disk, None, stat.st_mtime_ns)


def commit_sha(files: Iterable[HubFile]) -> str:
    """40 hex digits that stand for the content: the same files give the same sha wherever they lie."""
    digest = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda f: f.path):
        digest.update(f"{file.blob_id} {file.path}\0".encode())
    return digest.hexdigest()


def git_blob_id(content: bytes) -> str:
    """Git's name of a file's content. Source: Pro Git, "Git Objects"."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=65536)
def _digests(file: Path, mtime_ns: int, size: int) -> tuple[str, str]:
    """(git blob id, sha256) in one pass; time and size are only there to make a changed file a new key."""
    del mtime_ns
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    sha256 = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(READ_BYTES):
            blob.update(chunk)
            sha256.update(chunk)
    return blob.hexdigest(), sha256.hexdigest()
