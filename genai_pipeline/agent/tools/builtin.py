"""The agent's own tools. The demo model was trained on the wording of their replies."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from strands import tool

from genai_pipeline.agent.agent_errors import ToolError
from genai_pipeline.agent.tools.weather import WeatherService

Clock = Callable[[], datetime]


def utc_clock() -> datetime:
    return datetime.now(UTC)


def build_tools(weather: WeatherService, clock: Clock = utc_clock) -> list[Any]:
    """Return the tools in Strands' form. Args: clock: returns the current time."""

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
    """Return for example `2026-11-24T14:32:05+09:00 (Asia/Tokyo)`. Raises: ToolError: the zone does not exist."""
    name = timezone.strip()
    if name not in _zones():  # never a path: ZoneInfo would read any file below the time zone folder
        raise ToolError(f"unknown time zone '{name[:60]}'; use an IANA name such as {_near(name[:60])}")
    return f"{now.astimezone(ZoneInfo(name)).isoformat(timespec='seconds')} ({name})"


def _near(name: str) -> str:
    """Return the name that was probably meant, or an example. The demo model was trained on the sentence around it."""
    wanted = name.replace(" ", "_").casefold()
    by_name, by_city = _spellings()
    if wanted in by_name:
        return by_name[wanted]
    city = difflib.get_close_matches(wanted.rpartition("/")[2], by_city, n=1, cutoff=0.8)
    return by_city[city[0]] if city else "Europe/Berlin"


@cache
def _spellings() -> tuple[dict[str, str], dict[str, str]]:
    """Return the zones by their whole name and by its last part, in lower case; the first of several wins."""
    zones = sorted((zone for zone in _zones() if "/" in zone), reverse=True)
    return {z.casefold(): z for z in zones}, {z.rpartition("/")[2].casefold(): z for z in zones}


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime", "Factory"}  # the zone of this machine, and a placeholder
