"""The hub, which publishes revisions of models with the digests of their files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from genai_pipeline.core.model_snapshot import Snapshot


class Hub(ABC):
    """Queries only. This product publishes nothing.

    Every method raises HubUnavailable (down, 429, 5xx), AccessDenied (401, 403, gated),
    RepositoryNotFound or RevisionNotFound.
    """

    @abstractmethod
    def resolve(self, repository: str, ref: str) -> str:
        """Return the 40-hex commit sha that a branch, tag or sha stands for now."""

    def tags(self, repository: str) -> Mapping[str, str]:
        """Return tag -> commit sha now, or an empty mapping for a source whose revisions have no names."""
        return {}

    @abstractmethod
    def snapshot(self, repository: str, revision: str) -> Snapshot:
        """Return every file of a revision with its size and digest, the licence, and whether access is gated."""

    @abstractmethod
    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Return bytes [start, end) of one file in chunks. It follows redirects and checks the commit header."""
