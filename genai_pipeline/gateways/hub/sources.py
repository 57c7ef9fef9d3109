"""The source of a model's files, as its model file says: a hub, an S3 prefix or a folder, behind one interface."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from genai_pipeline.core.errors import AccessDenied, Refused, RevisionNotFound
from genai_pipeline.core.licences import stated_licences
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.source_spec import Source
from genai_pipeline.core.tag_range import TagRange
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.hub.weights_reading import with_layout
from genai_pipeline.gateways.store.abc import ObjectStore

NAMED_TAGS = 10
LICENCE_FILES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE")
LARGEST_LICENCE = 64 * 1024
_WRITTEN_BY_STAGING = re.compile(r"(models/[^/]+/[0-9a-f]{40}|sources|leases|releases)/")


def source_of(source: Source, hub: Hub, store: ObjectStore) -> Hub:
    """Return the gateway to a source. It connects to nothing.

    Args:
        hub: the hub that `source.hub` names a repository of.
        store: where models are staged; the digests of S3 and folder sources are kept there.
    """
    return SelectedFiles(hub if source.hub else _content(source, store), source)


def _content(source: Source, store: ObjectStore) -> Hub:
    from genai_pipeline.gateways.hub.content_hub import CARD, ContentHub
    from genai_pipeline.gateways.hub.digest_memory import DigestMemory
    from genai_pipeline.gateways.hub.source_files import FolderFiles, S3Files

    if source.folder:
        files = FolderFiles(source.folder, lambda path: path == CARD or source.selects(path))
    else:
        bucket, _, prefix = source.address.removeprefix("s3://").partition("/")
        other = store.elsewhere(bucket, source.region, source.endpoint, source.requester_pays)
        files = S3Files(other, prefix, copyable=source.endpoint is None)
    memory = DigestMemory(files, store, f"{source.endpoint or ''} {source.address}")
    in_own_bucket = source.address.startswith(store.url("")) and not source.endpoint
    return ContentHub(files, _not_written_by_staging(source, store) if in_own_bucket else source.selects, memory)


def _not_written_by_staging(source: Source, store: ObjectStore) -> Callable[[str], bool]:
    """Return the selection of a source in the bucket that is staged into.

    One staged model may be a source, but a prefix that staging itself writes to may not.
    """
    prefix = source.address.removeprefix(store.url(""))

    def selects(path: str) -> bool:
        selected = source.selects(path)
        if selected and _WRITTEN_BY_STAGING.match(prefix + path) and not _WRITTEN_BY_STAGING.match(prefix):
            raise Refused(
                f"{source.address} contains {prefix + path}, which staging writes. Each staging makes a new revision.",
                "Move the model's files below a prefix of their own, or leave that path out by `source.exclude`.",
            )
        return selected

    return selects


class SelectedFiles(Hub):
    """The files of another source that a model file selects, with the formats that it allows.

    Weights that the index of the root does not name are left out.
    """

    def __init__(self, inner: Hub, source: Source) -> None:
        self._inner = inner
        self._source = source

    def resolve(self, repository: str, ref: str) -> str:
        """Return the commit of a ref; for a range of tags, that of the newest tag in it."""
        tag_range = TagRange.parse(ref)
        if tag_range is None:
            return self._inner.resolve(repository, ref)
        tags = self._inner.tags(repository)
        newest = tag_range.newest(tags, self._source.prereleases)
        if newest is None:
            raise RevisionNotFound(
                f"{repository} has no tag that matches {ref!r}. Its tags: {_listed(tags)}.",
                "Publish one, or correct `source.ref` in the model file. `prereleases: true` allows pre-releases.",
            )
        return tags[newest]

    def tags(self, repository: str) -> Mapping[str, str]:
        return self._inner.tags(repository)

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        found = self._inner.snapshot(repository, revision)
        files = tuple(file for file in found.files if self._source.selects(file.path))
        selected = replace(found, files=files, formats=self._source.formats)
        try:
            if selected.licence is None:
                selected = replace(selected, licence=stated_licences(None, (), self._licence_text(selected)))
            return with_layout(selected, self._inner)
        except AccessDenied:  # a gated repository lists its files to everyone; a check of m/snapshot says it
            return selected

    def _licence_text(self, snapshot: Snapshot) -> str:
        """Return the content of LICENSE, of a source whose card states no licence."""
        file = next((f for f in snapshot.files if f.path in LICENCE_FILES and f.size <= LARGEST_LICENCE), None)
        body = self._inner.read(snapshot.source, snapshot.revision, file.path) if file else ()
        return b"".join(body).decode("utf-8", "replace")

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        return self._inner.read(repository, revision, path, start, end)


def _listed(tags: Mapping[str, str]) -> str:
    some = sorted(tags)[-NAMED_TAGS:]
    return f"{'… ' if len(tags) > len(some) else ''}{', '.join(some)}" if some else "none"
