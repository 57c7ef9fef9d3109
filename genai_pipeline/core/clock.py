"""Read the clock. All other code takes the time as an argument, so that tests can pass it in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def utc_now() -> str:
    """Return the time now as ISO 8601 in UTC, to the millisecond."""
    return iso_utc(datetime.now(UTC))


def later(at: str, seconds: float) -> str:
    """Return the time `seconds` after `at`, both as ISO 8601 in UTC."""
    return iso_utc(datetime.fromisoformat(at) + timedelta(seconds=seconds))


def growing_pause_s(tries: int, first_s: float, factor: float, longest_s: float) -> float:
    """Return the seconds to wait after `tries` failed tries in a row, for pauses that outlive a process.

    Args:
        tries: at least 1.
        first_s: the pause after the first try; each further try multiplies it by `factor`.
        longest_s: upper bound.
    """
    return min(first_s * factor ** min(tries - 1, 30), longest_s)


def for_people(at: str | None) -> str:
    """Return an ISO 8601 time in UTC to the second, as `2026-11-24 14:32:05Z`; an empty text without a time."""
    return f"{at[:10]} {at[11:19]}Z" if at else ""


def iso_utc(at: datetime, timespec: str = "milliseconds") -> str:
    """Return a time in UTC as ISO 8601, as `2026-11-24T14:32:05.123Z`.

    Args:
        timespec: the last part that is shown, as `datetime.isoformat` names it.
    """
    return at.isoformat(timespec=timespec).replace("+00:00", "Z")
