"""The agent's tools. Their replies are worded as the demo model was taught to read them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from strands import tool

from genai_pipeline.agent.errors import ToolError
from genai_pipeline.agent.weather import WeatherService

Clock = Callable[[], datetime]


def utc_clock() -> datetime:
    return datetime.now(UTC)


def build_tools(weather: WeatherService, clock: Clock = utc_clock) -> list[Any]:
    """The tools as Strands wants them; `clock` says what time it is."""

    @tool
    def get_current_time(timezone: str) -> str:
        """Get the current date and time in a time zone.

        Args:
            timezone: IANA name of the time zone, for example Europe/Berlin.
        """
        return current_time(timezone, clock())

    @tool
    async def get_weather(location: str) -> str:
        """Get the current weather of a place.

        Args:
            location: Name of the place, for example Berlin.
        """
        return await weather.current(location)

    return [get_current_time, get_weather]


def current_time(timezone: str, now: datetime) -> str:
    """`2026-11-24T14:32:05+09:00 (Asia/Tokyo)`. Raises: ToolError: no such zone."""
    name = timezone.strip()
    if name not in _zones():  # never a path: ZoneInfo would read any file below the time zone folder
        raise ToolError(f"unknown time zone '{name[:60]}'; use an IANA name such as Europe/Berlin")
    return f"{now.astimezone(ZoneInfo(name)).isoformat(timespec='seconds')} ({name})"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
