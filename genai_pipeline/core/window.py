"""A maintenance window: `Mon-Fri 09:00-17:00 Europe/Berlin`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORM = re.compile(r"(?:(?P<days>[A-Za-z,-]+)\s+)?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)(?:\s+(?P<zone>[\w/+-]+))?")
_EXAMPLE = "Mon-Fri 09:00-17:00 Europe/Berlin"


@dataclass(frozen=True)
class Window:
    """A span of time that opens on some days of the week.

    A window whose end is not after its start ends on the next day. `days` are the days on which it opens.

    Args:
        text: as the model file writes it.
        days: 0 is Monday.
        start, end: times of day on the clocks of `zone`.
    """

    text: str
    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read a window. Without days it opens every day; without a zone its times are UTC.

        Raises: ValueError: the text is not a window.
        """
        found = _FORM.fullmatch(text.strip())
        if not found:
            raise ValueError(f"must be a maintenance window, for example {_EXAMPLE}")
        try:
            start, end = (time.fromisoformat(found[part]) for part in ("start", "end"))
        except ValueError:
            raise ValueError(f"has a time of day that does not exist. Example: {_EXAMPLE}") from None
        try:
            zone = ZoneInfo(found["zone"] or "UTC")
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError, a folder's name an OSError
            raise ValueError(f"has a time zone that the IANA database does not know: {found['zone']}") from None
        return cls(text.strip(), frozenset(_days(found["days"] or "Mon-Sun")), start, end, zone)

    def is_open(self, at: datetime) -> bool:
        """Return whether the window is open at `at`, a time with a zone."""
        return any(opens <= at < closes for opens, closes in self._around(at, days=2))

    def next_opening(self, at: datetime) -> datetime:
        """Return the first opening after `at`, in UTC."""
        return min(opens for opens, _ in self._around(at, days=16) if opens > at)

    def _around(self, at: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Yield the openings of the day before `at` and of the days that follow, in UTC.

        An opening of which daylight saving time leaves nothing is left out.
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
        raise ValueError(f"has a day that does not exist, {name!r}. Days are {', '.join(_DAYS)}, as in {_EXAMPLE}")
    return _DAYS.index(name.title())


def _window(value: Any) -> Any:
    return Window.parse(value) if isinstance(value, str) else value


MaintenanceWindow = Annotated[
    Window,
    BeforeValidator(_window),
    PlainSerializer(lambda window: window.text),
    WithJsonSchema({"type": "string"}),
]
"""In a model file its text; in a record too."""
