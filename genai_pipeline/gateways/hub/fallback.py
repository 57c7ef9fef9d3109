"""Two hubs behind one interface: the local hub for the repositories that it holds, the public one for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from genai_pipeline.core.errors import HubUnavailable, RepositoryNotFound, Unavailable
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.gateways.hub.abc import Hub

T = TypeVar("T")


class FallbackHub(Hub):
    """Asks `second` only for repositories that `first` does not hold."""

    def __init__(self, first: Hub, second: Hub) -> None:
        self._first = first
        self._second = second

    def resolve(self, repository: str, ref: str) -> str:
        return self._ask(lambda hub: hub.resolve(repository, ref))

    def tags(self, repository: str) -> Mapping[str, str]:
        return self._ask(lambda hub: hub.tags(repository))

    def snapshot(self, repository: str, revision: str) -> Snapshot:
        return self._ask(lambda hub: hub.snapshot(repository, revision))

    def read(
        self, repository: str, revision: str, path: str, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        try:
            yield from self._first.read(repository, revision, path, start, end)
        except RepositoryNotFound:
            yield from self._second.read(repository, revision, path, start, end)

    def _ask(self, question: Callable[[Hub], T]) -> T:
        try:
            return question(self._first)
        except RepositoryNotFound as missing:
            try:
                return question(self._second)
            except Unavailable as error:
                raise HubUnavailable(
                    f"{missing.what} The public hub was asked as well: {error.what}",
                    "Correct `source.hub` in the model file, or run this again where the public hub can be reached.",
                ) from error
