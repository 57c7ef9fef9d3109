"""Files whose source publishes no digests: those below a prefix of S3, and those in a folder."""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genai_pipeline.core.errors import (
    AccessDenied,
    GenaiError,
    NotFound,
    RepositoryNotFound,
    StoreConflict,
    UnsafePath,
)
from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest
from genai_pipeline.gateways.store.abc import CHUNK, ObjectStore


@dataclass(frozen=True)
class ListedFile:
    """What a listing says of a file, without reading it.

    Args:
        identity: changes whenever the bytes may have changed.
        sha256: the digest of the bytes, where a manifest beside them names it.
        copy_of: where the store can copy the bytes from, as `s3://bucket/key`.
    """

    path: str
    size: int
    identity: str
    sha256: str | None = None
    copy_of: str | None = None


class FileChanged(Exception):
    """The file is not the one that was listed."""


class SourceFiles(ABC):
    """Every file below one address.

    Every method raises RepositoryNotFound, AccessDenied, and the errors of the store.
    """

    address: str

    @abstractmethod
    def list(self) -> list[ListedFile]:
        """Return all files in any order, with a few requests, without reading a file."""

    @abstractmethod
    def read(self, file: ListedFile, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Return bytes [start, end) in chunks. Raises: FileChanged."""


class S3Files(SourceFiles):
    """Objects below a prefix. Their identity is the ETag.

    Args:
        store: the bucket that they are in.
        copyable: whether the store that is staged into can copy from there.
    """

    def __init__(self, store: ObjectStore, prefix: str, copyable: bool) -> None:
        self.address = store.url(prefix)
        self._store = store
        self._prefix = prefix
        self._copyable = copyable

    def list(self) -> list[ListedFile]:
        """Return the objects. A manifest beside them names their digests; consoles' empty "folders" are left out."""
        objects = {found.key.removeprefix(self._prefix): found for found in self._store.list(self._prefix)}
        known: dict[tuple[str, str], str] = {}
        manifest = self._manifest() if MANIFEST_NAME in objects else None
        if manifest:
            del objects[MANIFEST_NAME]
            known = {(file.path, file.etag): file.sha256 for file in manifest.files}
        return [
            ListedFile(
                path, o.size, o.etag, known.get((path, o.etag)), self._store.url(o.key) if self._copyable else None
            )
            for path, o in objects.items()
            if o.size or not (path == "" or path.endswith("/"))
        ]

    def read(self, file: ListedFile, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        try:
            yield from self._store.read(self._prefix + file.path, start, end, file.identity)
        except (StoreConflict, NotFound) as error:
            raise FileChanged(file.path) from error

    def _manifest(self) -> Manifest | None:
        try:
            return Manifest.from_bytes(self._store.get(self._prefix + MANIFEST_NAME)[0])
        except (ValueError, KeyError, TypeError, NotFound):
            return None  # a file of the model with that name, which preflight refuses


class FolderFiles(SourceFiles):
    """Files of a folder. Their identity is inode, size and times.

    A link to a file stands for the file, as in the cache of the hub's client. Folders whose names begin with a dot
    (.git, .cache) are left out, because tools keep their own data there. So are files that `select` does not choose.
    """

    def __init__(self, folder: str, select: Callable[[str], bool]) -> None:
        self.address = folder
        self._folder = Path(folder)
        self._select = select

    def list(self) -> list[ListedFile]:
        if not self._folder.is_dir():
            raise RepositoryNotFound(
                f"There is no folder {self._folder} on this machine.", "Correct `source.folder` in the model file."
            )
        found: list[ListedFile] = []
        for parent, folders, names in os.walk(self._folder, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
            found += [self._listed(Path(parent, name)) for name in [*names, *links] if self._wants(Path(parent, name))]
        return found

    def read(self, file: ListedFile, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        try:
            with (self._folder / file.path).open("rb") as stream:
                self._require_same(file, stream.fileno())
                stream.seek(start)
                left = file.size - start if end is None else min(end, file.size) - start
                while left > 0 and (chunk := stream.read(min(CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
                self._require_same(file, stream.fileno())
        except FileNotFoundError as error:
            raise FileChanged(file.path) from error
        except OSError as error:
            raise _refusal(error) from error

    def _wants(self, file: Path) -> bool:
        return self._select(self._path(file))

    def _path(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    def _listed(self, file: Path) -> ListedFile:
        try:
            found = file.stat()
        except OSError as error:
            raise _refusal(error) from error
        if not stat.S_ISREG(found.st_mode):
            kind = "is a link to a folder" if stat.S_ISDIR(found.st_mode) else "is not a regular file"
            raise UnsafePath(f"{file} {kind}.", "Put the file itself there, or leave it out by `source.exclude`.")
        return ListedFile(self._path(file), found.st_size, _identity(found))

    def _require_same(self, file: ListedFile, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if (found.st_size, _identity(found)) != (file.size, file.identity):
            raise FileChanged(file.path)


def _identity(found: os.stat_result) -> str:
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def _refuse(error: OSError) -> None:
    raise _refusal(error)


def _refusal(error: OSError) -> GenaiError:
    where = error.filename or "a file"
    return AccessDenied(
        f"{where} cannot be read: {error.strerror or error}.",
        "Let this account read it, or leave it out by `source.exclude`.",
    )
