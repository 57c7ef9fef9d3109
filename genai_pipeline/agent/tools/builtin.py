"""The agent's own tools. The demo model was trained on the wording of their replies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from strands import tool

from genai_pipeline.agent.tools.times import current_time
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
