"""The one place that asks what time it is; everything else is handed the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def utc_now() -> str:
    """Now, as ISO 8601 UTC to the millisecond."""
    return _iso(datetime.now(UTC))


def later(at: str, seconds: float) -> str:
    """The moment so many seconds after `at`, both ISO 8601 UTC."""
    return _iso(datetime.fromisoformat(at) + timedelta(seconds=seconds))


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
