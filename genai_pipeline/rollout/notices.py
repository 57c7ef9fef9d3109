"""Notices that wait in the store until somebody sends them on.

They are written where something happens, by whichever process that is; a sensor sends them. So neither a webhook
that hangs nor one that is down can hold a rollout back.
"""

from __future__ import annotations

from contextlib import suppress

from genai_pipeline.core.errors import AlreadyExists, NotFound
from genai_pipeline.core.notice import Notice
from genai_pipeline.gateways.store.abc import ObjectStore

PREFIX = "notices/"


class Notices:
    """An outbox. Every method may be repeated."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def write(self, notice: Notice) -> None:
        with suppress(AlreadyExists):
            self._store.put_new(notice.key, notice.to_bytes())

    def waiting(self) -> list[Notice]:
        """Oldest first."""
        found: list[Notice] = []
        for listed in self._store.list(PREFIX):
            with suppress(NotFound):  # sent and deleted since it was listed
                found.append(Notice.from_bytes(self._store.get(listed.key)[0]))
        return sorted(found, key=lambda notice: notice.at)

    def sent(self, notice: Notice) -> None:
        self._store.delete(notice.key)
