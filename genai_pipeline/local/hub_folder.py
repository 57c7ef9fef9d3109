"""Model repositories as plain folders: `<folder>/<owner>/<repository>/{repo.yaml,<tag>/files...}`.

A revision's commit sha follows from its files alone, so the same files have the same sha on every
machine. Tags come from the folders; branches from repo.yaml, overridden by `<state>/refs.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.core.errors import RepositoryNotFound, RevisionNotFound

LFS_ABOVE = 1024 * 1024
"""Bytes above which a file is kept by its sha256, as the public hub does (with LFS) for large files."""

REFS_NAME = "refs.json"
_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class HubFile:
    """One file. `sha256` is None for those that git itself keeps; `pointer_size` is LFS's."""

    path: str
    where: Path
    size: int
    blob_id: str
    sha256: str | None = None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        return self.sha256 or self.blob_id


@dataclass(frozen=True)
class Revision:
    tag: str
    title: str
    files: tuple[HubFile, ...]

    @cached_property
    def sha(self) -> str:
        listing = "".join(f"{f.blob_id} {f.path}\n" for f in self.files)
        return hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()

    def file(self, path: str) -> HubFile | None:
        return next((f for f in self.files if f.path == path), None)


@dataclass(frozen=True)
class Repository:
    """One repository as it is on disk now. `branches`: name -> tag."""

    id: str
    gated: bool
    licence: str | None
    branches: dict[str, str]
    revisions: tuple[Revision, ...]

    def resolve(self, ref: str) -> Revision:
        """The revision of a tag, a branch or a commit sha. Raises RevisionNotFound."""
        name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        tag = self.branches.get(name, name)
        for revision in self.revisions:
            if revision.tag == tag or revision.sha == name:
                return revision
        known = ", ".join([*sorted(self.branches), *(r.tag for r in self.revisions)])
        raise RevisionNotFound(f"{self.id} has no revision {ref!r}.", f"It has {known or 'none at all'}.")


@dataclass(frozen=True)
class HubFolder:
    """Every repository below `folder`; `state` holds what was published since."""

    folder: Path
    state: Path
    _digests: _Digests = field(default_factory=lambda: _Digests(), compare=False)

    def ids(self) -> list[str]:
        return sorted(f"{p.parent.parent.name}/{p.parent.name}" for p in self.folder.glob("*/*/repo.yaml"))

    def repository(self, repository: str) -> Repository:
        """Read a repository. Raises RepositoryNotFound."""
        where = self.folder / repository
        if not _ID.fullmatch(repository) or not (where / "repo.yaml").is_file():
            raise RepositoryNotFound(f"There is no repository {repository!r}.", f"There are: {', '.join(self.ids())}.")
        settings: dict[str, Any] = yaml.safe_load((where / "repo.yaml").read_text()) or {}
        described: dict[str, Any] = settings.get("revisions") or {}
        revisions = tuple(
            Revision(tag.name, (described.get(tag.name) or {}).get("title", ""), tuple(self._files(tag)))
            for tag in sorted(where.iterdir())
            if tag.is_dir() and not tag.name.startswith((".", "_"))
        )
        return Repository(
            id=repository,
            gated=bool(settings.get("gated")),
            licence=settings.get("license"),
            branches={**(settings.get("refs") or {}), **read_refs(self.state).get(repository, {})},
            revisions=tuple(r for r in revisions if r.files),
        )

    def _files(self, tag: Path) -> Iterator[HubFile]:
        inside = tag.resolve()
        for where in sorted(tag.rglob("*"), key=lambda p: p.relative_to(tag).as_posix()):
            if where.is_file() and where.resolve().is_relative_to(inside):  # a link must not leave the revision
                yield self._digests.of(where, where.relative_to(tag).as_posix())


class _Digests:
    """Digests of files, computed once for each path, size and time of change."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], tuple[str, str | None, int]] = {}
        self._lock = threading.Lock()

    def of(self, where: Path, path: str) -> HubFile:
        stat = where.stat()
        key = (str(where), stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if key not in self._known:
                self._known[key] = _digests(where, stat.st_size)
            blob_id, sha256, pointer_size = self._known[key]
        return HubFile(path, where, stat.st_size, blob_id, sha256, pointer_size)


def _digests(where: Path, size: int) -> tuple[str, str | None, int]:
    if where.suffix != ".safetensors" and size <= LFS_ABOVE:
        return _blob_id(where.read_bytes()), None, 0
    sha256 = hashlib.sha256()
    with where.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
    # What git keeps of an LFS file (git-lfs specification, "The Pointer")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256.hexdigest()}\nsize {size}\n".encode()
    return _blob_id(pointer), sha256.hexdigest(), len(pointer)


def _blob_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def read_refs(state: Path) -> dict[str, dict[str, str]]:
    """Repository -> branch -> tag, as published; nothing where nothing was."""
    try:
        return json.loads((state / REFS_NAME).read_text())
    except (FileNotFoundError, ValueError):
        return {}
