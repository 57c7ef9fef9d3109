"""Notices that wait in the store until somebody sends them on.

They are written where something happens, by whichever process that is; a sensor sends them. So neither a webhook
that hangs nor one that is down can hold a rollout back. What was sent leaves a marker for as long as the step that
wrote it might run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from genai_pipeline.core.errors import AlreadyExists, NotFound
from genai_pipeline.core.notice import Notice
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject

PREFIX, SENT = "notices/", "notices-sent/"
EXPIRES_AFTER = timedelta(days=7)
EXPIRES_UNSENT_AFTER = timedelta(days=1)
"""Where there is nobody to send them to."""
SAID_FOR = timedelta(days=1)
"""For so long the same words about the same release are no news; an end that hangs for days is a reminder a day."""


class Notices:
    """An outbox. Every method may be repeated."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def write(self, notice: Notice) -> None:
        """Once for the same thing, whether it waits still or has been sent."""
        if self._store.head(notice.sent_key) is None:
            with suppress(AlreadyExists):
                self._store.put_new(notice.key, notice.to_bytes())

    def waiting(self) -> list[Notice]:
        """Oldest first. What cannot be read as a notice is left to `expire`."""
        return sorted((n for _, n in self._read() if n), key=lambda notice: notice.at)

    def sent(self, notice: Notice) -> None:
        """The marker comes first: killed between the two, the next `sent` finds the rest."""
        self._store.put(notice.sent_key, b"")
        self._store.delete(notice.key)

    def was_sent(self, notice: Notice) -> bool:
        return self._store.head(notice.sent_key) is not None

    def expire(self, now: datetime, is_sent_anywhere: bool) -> int:
        """Delete what is too old to be news, and markers that nobody needs any more; returns how many notices."""
        after = EXPIRES_AFTER if is_sent_anywhere else EXPIRES_UNSENT_AFTER
        old = [listed.key for listed, n in self._read() if _age(listed, n, now) > after]
        markers = [m.key for m in self._store.list(SENT) if _age(m, None, now) > SAID_FOR]
        for key in old + markers:
            self._store.delete(key)
        return len(old)

    def _read(self) -> Iterator[tuple[StoredObject, Notice | None]]:
        for listed in list(self._store.list(PREFIX)):
            try:
                yield listed, Notice.from_bytes(self._store.get(listed.key)[0])
            except NotFound:  # sent and deleted since it was listed
                continue
            except (ValueError, TypeError, KeyError):  # of another version, or not ours
                yield listed, None


def _age(listed: StoredObject, notice: Notice | None, now: datetime) -> timedelta:
    """Of an unreadable one, by the store's clock."""
    with suppress(ValueError):
        if notice:
            return now - datetime.fromisoformat(notice.at)
    return timedelta(seconds=now.timestamp() - listed.modified_at)
