"""What a model's files come from, as its model file says: a hub, an S3 prefix or a folder, all asked alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from genai_pipeline.core.model_spec import Source
from genai_pipeline.core.snapshot import Snapshot
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore


def source_of(source: Source, hub: Hub, store: ObjectStore) -> Hub:
    """The gateway to a source. Connects to nothing.

    Args:
        hub: where `source.hub` is.
        store: where models are staged; digests of S3 and folder sources are remembered there.
    """
    return SelectedFiles(hub if source.hub else _content(source, store), source)


def _content(source: Source, store: ObjectStore) -> Hub:
    from genai_pipeline.gateways.hub.content import CARD, ContentHub
    from genai_pipeline.gateways.hub.digest_memory import DigestMemory
    from genai_pipeline.gateways.hub.files import FolderFiles, S3Files

    if source.folder:
        files = FolderFiles(source.folder, lambda path: path == CARD or source.selects(path))
    else:
        bucket, _, prefix = source.address.removeprefix("s3://").partition("/")
        other = store.elsewhere(bucket, source.region, source.endpoint, source.requester_pays)
        files = S3Files(other, prefix, copyable=source.endpoint is None)
    memory = DigestMemory(files, store, f"{source.endpoint or ''} {source.address}")
    return ContentHub(files, source.selects, memory)


class SelectedFiles(Hub):
    """Of another source, the files that a model file selects, with the formats that it allows."""

    def __init__(self, inner: Hub, source: Source) -> None:
        self._inner = inner
        self._source = source

    def resolve(self, repository: str, ref: str) -> str:
        return self._inner.resolve(repository, ref)

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        found = self._inner.snapshot(repository, revision)
        files = tuple(file for file in found.files if self._source.selects(file.path))
        return replace(found, files=files, formats=self._source.formats)

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        return self._inner.read(repository, revision, path, start, end)
