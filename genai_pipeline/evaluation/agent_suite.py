"""A suite for an agent: conversations, the tool calls that they need and what a right answer holds.

Facts follow from the calls. An answer about a place's weather must give the temperature or the sky of that place, as in
the suite's `weather` table. An answer about a time must give that time.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.text_form import TextForm
from genai_pipeline.evaluation.normalized_text import normalized
from genai_pipeline.evaluation.suite import Choice, ExpectedWords, Suite, SuiteCase, Text, listed

WEATHER_TOOL, TIME_TOOL = "get_weather", "get_current_time"
PARAMETERS = {WEATHER_TOOL: "location", TIME_TOOL: "timezone"}

_all_zones = cache(available_timezones)  # which reads the disk each time

Call = Annotated[dict[str, Choice], Field(min_length=1)]


class PlaceWeather(Section):
    """What the weather service reports about a place."""

    sky: Text
    celsius: Annotated[int, Field(strict=True)]


class AgentTurn(ExpectedWords):
    """One prompt, the tool calls that it needs and what a right answer holds.

    Args:
        calls: tool -> argument, in any order; a list of arguments is a choice.
        may_call: calls that are allowed and not required, such as one that can only fail.
        rubric: what a judge model is asked about the answer, where one is configured.
    """

    ask: Text
    calls: tuple[Call, ...] = ()
    may_call: tuple[Call, ...] = ()
    rubric: Text | None = None

    @field_validator("calls", "may_call", mode="before")
    @classmethod
    def _choices(cls, calls: Any) -> Any:
        if not isinstance(calls, list):
            return calls
        return [{t: listed(arg) for t, arg in call.items()} if isinstance(call, dict) else call for call in calls]

    @field_validator("calls", "may_call")
    @classmethod
    def _known_tools(cls, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        if unknown := [tool for call in calls for tool in call if tool not in PARAMETERS]:
            raise ValueError(f"there is no tool {unknown[0]!r}; allowed: {' and '.join(PARAMETERS)}")
        return calls

    @field_validator("calls")
    @classmethod
    def _known_zones(cls, calls: tuple[Call, ...]) -> tuple[Call, ...]:
        zones = [zone for call in calls for zone in call.get(TIME_TOOL, ())]
        if unknown := [zone for zone in zones if zone not in _all_zones()]:
            raise ValueError(f"{unknown[0]!r} is not an IANA time zone")
        return calls

    @property
    def expected(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every expected call as (tool, accepted arguments)."""
        return [item for call in self.calls for item in call.items()]

    @property
    def tolerated(self) -> list[tuple[str, str]]:
        return [(tool, choice) for call in self.may_call for tool, choices in call.items() for choice in choices]

    def arguments_of(self, tool: str) -> list[tuple[str, ...]]:
        return [choices for name, choices in self.expected if name == tool]


class AgentCase(SuiteCase):
    """One conversation, in a session of its own."""

    turns: tuple[AgentTurn, ...] = Field(min_length=1)


class Isolation(Section):
    """Sessions side by side, each about its own place: none may mention the place of another.

    Args:
        ask: the first turn; `{place}` is the session's place.
        follow_up: does not name the place, so that only the session's own history can.
        places: rare ones, which a model does not mention by itself.
    """

    ask: Annotated[str, TextForm(r"(?s).*\{place\}.*", "text that names {{place}}, as {}", "{} in {{place}}?".format)]
    follow_up: Text
    places: tuple[Text, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _apart(self) -> Isolation:
        names = sorted(map(normalized, self.places), key=len)
        if within := next((a for i, a in enumerate(names) if any(a in b for b in names[i + 1 :])), None):
            raise ValueError(f"a place is named twice, or is part of the name of another: {within}")
        if "{place}" in self.follow_up:
            raise ValueError("`follow_up` must not name the place, because it tests the memory")
        return self


class AgentSuite(Suite[AgentCase]):
    """A suite for an agent, and the weather that its answers are judged by."""

    weather: dict[str, PlaceWeather] = Field(default_factory=dict)
    isolation: Isolation

    @property
    def digest(self) -> str:
        cases = [case.model_dump(mode="json", exclude={"tags", "weight", "repeat"}) for case in self.cases]
        weather = {place: weather.model_dump() for place, weather in self.weather.items()}
        canonical = json.dumps([self.name, weather, cases], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
