"""Keep notices in the store until a sensor sends them.

The process in which something happens writes the notice, and a sensor sends it. So a webhook that hangs or is down
cannot delay a rollout. A sent notice leaves a marker for as long as the step that wrote it might run again.
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
"""Used when no webhook is set."""
SAID_FOR = timedelta(days=1)
"""How long the same text about the same release is not sent again. A state that lasts for days is sent once a day."""


class Notices:
    """The outbox of notices. Every method may be repeated."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def write(self, notice: Notice) -> None:
        """Write a notice, unless the same one is waiting or was sent."""
        if self._store.head(notice.sent_key) is None:
            with suppress(AlreadyExists):
                self._store.put_new(notice.key, notice.to_bytes())

    def waiting(self) -> list[Notice]:
        """Return the notices to send, oldest first. An object that is not a notice is left to `expire`."""
        return sorted((n for _, n in self._read() if n), key=lambda notice: notice.at)

    def sent(self, notice: Notice) -> None:
        """Note that a notice was sent. The marker comes first: after a kill, the next call does the rest."""
        self._store.put(notice.sent_key, b"")
        self._store.delete(notice.key)

    def was_sent(self, notice: Notice) -> bool:
        return self._store.head(notice.sent_key) is not None

    def expire(self, now: datetime, is_sent_anywhere: bool) -> int:
        """Delete old notices and old markers. Returns: How many notices were deleted."""
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
            except (ValueError, TypeError, KeyError):  # from another version, or not a notice
                yield listed, None


def _age(listed: StoredObject, notice: Notice | None, now: datetime) -> timedelta:
    """Return the age; of an object that cannot be read, by the store's clock."""
    with suppress(ValueError):
        if notice:
            return now - datetime.fromisoformat(notice.at)
    return timedelta(seconds=now.timestamp() - listed.modified_at)
