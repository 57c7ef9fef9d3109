"""A source without commits, behind the interface of a hub. Its revision is a digest of its content."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from genai_pipeline.core.errors import RevisionNotFound
from genai_pipeline.core.licences import stated_licences
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.hub.digest_memory import DigestMemory, changed_meanwhile
from genai_pipeline.gateways.hub.source_files import FileChanged, ListedFile, SourceFiles

RESOLVE_WAIT_S = 5.0
"""How long `resolve` waits for new files to be read. The reading goes on, and the next `resolve` asks again."""

NOW = "main"
CARD = "README.md"
LARGEST_CARD = 1024 * 1024
MOST_NAMED = 5


class ContentHub(Hub):
    """The files of an S3 prefix or a folder.

    `resolve` lists the files, and reads only those that were never read before. A file that changes after the snapshot
    is refused by name, unless its bytes are the same.

    Args:
        select: says which paths belong to the model.
        memory: the digests of the files.
    """

    def __init__(self, files: SourceFiles, select: Callable[[str], bool], memory: DigestMemory) -> None:
        self._files = files
        self._select = select
        self._memory = memory
        self._listed: dict[str, dict[str, ListedFile]] = {}
        self._lock = threading.Lock()

    def resolve(self, repository: str, ref: str) -> str:
        """Return the revision of the content that is there now; no other exists.

        Raises: NotReady: new files are still being read. RevisionNotFound: `ref` is another revision.
        """
        listed = [file for file in self._files.list() if self._select(file.path)]
        now = _revision(listed, self._memory.digests(listed, RESOLVE_WAIT_S))
        if ref != NOW and not now.startswith(ref):
            raise self._gone(ref, now)
        return now

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        """Return the files, once all of them are read. Raises: RevisionNotFound: the content has changed."""
        everything = self._files.list()
        listed = {file.path: file for file in everything if self._select(file.path)}
        digests = self._memory.digests(listed.values(), None)
        now = _revision(listed.values(), digests)
        if now != revision:
            raise self._gone(revision, now)
        with self._lock:
            self._listed = {revision: listed}
        files = tuple(
            SnapshotFile(
                path, file.size, sha256=digests[path], copy_of=file.copy_of, copy_etag=file.copy_of and file.identity
            )
            for path, file in sorted(listed.items())
        )
        return Snapshot(self._files.address, revision, files, self._licence(everything))

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Return bytes of the revision only. A file that was written again is read on if its content is the same."""
        at, file = start, self._file(repository, revision, path)
        try:
            for chunk in self._files.read(file, at, end):
                at += len(chunk)
                yield chunk
            return
        except FileChanged:
            with self._lock:
                self._listed.pop(revision, None)
        file = self._file(repository, revision, path)
        try:
            yield from self._files.read(file, at, end)
        except FileChanged:
            raise changed_meanwhile(self._files.address, path) from None

    def _file(self, repository: str, revision: str, path: str) -> ListedFile:
        with self._lock:
            listed = self._listed.get(revision)
        if listed is None:
            self.snapshot(repository, revision)
            listed = self._listed[revision]
        if path not in listed:
            raise changed_meanwhile(self._files.address, path)
        return listed[path]

    def _gone(self, revision: str, now: str) -> RevisionNotFound:
        changed = self._memory.changed
        names = ", ".join(changed[:MOST_NAMED])
        if len(changed) > MOST_NAMED:
            names += f" and {len(changed) - MOST_NAMED} more"
        return RevisionNotFound(
            f"{self._files.address} no longer holds revision {revision[:12]}; it now holds {now[:12]}"
            f"{f' (last changed: {names})' if names else ''}.",
            "Nothing was staged. The content that is there now is a revision of its own: stage that.",
        )

    def _licence(self, listed: list[ListedFile]) -> str | None:
        """Return the licence in the model card's front matter, as the hub does."""
        card = next((file for file in listed if file.path == CARD and file.size <= LARGEST_CARD), None)
        if card is None:
            return None
        try:
            text = b"".join(self._files.read(card)).decode("utf-8", "replace")
        except FileChanged:
            raise changed_meanwhile(self._files.address, CARD) from None
        return licence_of(text)


def licence_of(card: str) -> str | None:
    """Return what a model card's front matter states, or None. Source: Hugging Face docs, "Model Cards"."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        about = ModelCard(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, yaml.YAMLError):
        return None
    tags = about.get("tags")
    return stated_licences(about.get("license"), map(str, tags) if isinstance(tags, list) else ())


def _revision(listed: Iterable[ListedFile], digests: Mapping[str, str]) -> str:
    """Return 40 hex digits for paths, sizes and bytes; they do not depend on where the files are."""
    digest = hashlib.sha1(usedforsecurity=False)
    for file in sorted(listed, key=lambda f: f.path):
        digest.update(f"{digests[file.path]} {file.size} {file.path}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
