"""The hub: where revisions of models are published, with the digests of their files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from genai_pipeline.core.snapshot import Snapshot


class Hub(ABC):
    """Queries only: this product publishes nothing.

    Every method raises HubUnavailable (down, 429, 5xx), AccessDenied (401, 403, gated),
    RepositoryNotFound or RevisionNotFound.
    """

    @abstractmethod
    def resolve(self, repository: str, ref: str) -> str:
        """The 40-hex commit sha that a branch, tag or sha stands for now."""

    def tags(self, repository: str) -> Mapping[str, str]:
        """Tag -> the commit sha that it stands for now; empty where revisions are content and have no names."""
        return {}

    @abstractmethod
    def snapshot(self, repository: str, revision: str) -> Snapshot:
        """Every file of a revision, with size and digest, and the repository's licence and gate."""

    @abstractmethod
    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Bytes [start, end) of one file, in chunks; resolves redirects and checks the commit header."""
