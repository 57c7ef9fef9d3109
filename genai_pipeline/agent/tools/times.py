"""The current time in a time zone."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from genai_pipeline.agent.errors import ToolError


def current_time(timezone: str, now: datetime) -> str:
    """`2026-11-24T14:32:05+09:00 (Asia/Tokyo)`. Raises: ToolError: no such zone."""
    name = timezone.strip()
    if name not in _zones():  # never a path: ZoneInfo would read any file below the time zone folder
        raise ToolError(f"unknown time zone '{name[:60]}'; use an IANA name such as Europe/Berlin")
    return f"{now.astimezone(ZoneInfo(name)).isoformat(timespec='seconds')} ({name})"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "Factory"}  # the machine's own, and a placeholder
