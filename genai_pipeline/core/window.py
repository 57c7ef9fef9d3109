"""A maintenance window: `Mon-Fri 09:00-17:00 Europe/Berlin`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORM = re.compile(r"(?:(?P<days>[A-Za-z,-]+)\s+)?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?:\s+(?P<zone>[\w/+-]+))?")
_EXAMPLE = "Mon-Fri 09:00-17:00 Europe/Berlin"


@dataclass(frozen=True)
class Window:
    """On these days from `start` up to `end`, on the clocks of `zone`.

    A window whose end is not after its start goes on into the next day; its days are those on which it opens.
    """

    text: str
    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """Days and zone may be left out: every day, UTC. Raises: ValueError: says what is wrong with it."""
        found = _FORM.fullmatch(text.strip())
        if not found:
            raise ValueError(f"is no maintenance window: write it as {_EXAMPLE}")
        try:
            start, end = (time.fromisoformat(found[part]) for part in ("start", "end"))
        except ValueError:
            raise ValueError(f"has no such time of day: write it as {_EXAMPLE}") from None
        try:
            zone = ZoneInfo(found["zone"] or "UTC")
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError, a folder's name an OSError
            raise ValueError(f"names no time zone of the IANA database: {found['zone']}") from None
        return cls(text.strip(), frozenset(_days(found["days"] or "Mon-Sun")), start, end, zone)

    def is_open(self, at: datetime) -> bool:
        """`at` must know its own zone."""
        return any(opens <= at < closes for opens, closes in self._around(at, days=2))

    def next_opening(self, at: datetime) -> datetime:
        """The next time that it opens after `at`, in UTC."""
        return min(opens for opens, _ in self._around(at, days=16) if opens > at)

    def _around(self, at: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """The openings of the day before `at` and of the days that follow, in UTC.

        Not those that the clocks going forward leave nothing of.
        """
        first = at.astimezone(self.zone).date() - timedelta(days=1)
        for date in (first + timedelta(days=n) for n in range(days + 1)):
            if date.weekday() in self.days:
                last = date if self.end > self.start else date + timedelta(days=1)
                opens, closes = (datetime.combine(d, t, self.zone) for d, t in ((date, self.start), (last, self.end)))
                if opens.astimezone(UTC) < closes.astimezone(UTC):
                    yield opens.astimezone(UTC), closes.astimezone(UTC)


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start, end = _day(first), _day(last if dash else first)
        yield from ((start + n) % 7 for n in range((end - start) % 7 + 1))


def _day(name: str) -> int:
    if name.title() not in _DAYS:
        raise ValueError(f"has no day {name!r}: days are {', '.join(_DAYS)}, as in {_EXAMPLE}")
    return _DAYS.index(name.title())


def _window(value: Any) -> Any:
    return Window.parse(value) if isinstance(value, str) else value


MaintenanceWindow = Annotated[Window, BeforeValidator(_window), PlainSerializer(lambda window: window.text)]
"""In a model file its text; in a record too."""
