"""Score the turns of an agent by fixed rules. Pure.

A check that guesses cannot be an acceptance test alone, so that no judge model decides here. Where a turn has a rubric
and a judge is configured, the judge is asked only about answers that are right by these rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from genai_pipeline.evaluation.agent_suite import (
    PARAMETERS,
    TIME_TOOL,
    WEATHER_TOOL,
    AgentCase,
    AgentSuite,
    AgentTurn,
    PlaceWeather,
)
from genai_pipeline.evaluation.normalized_text import normalized, spoken
from genai_pipeline.evaluation.reply import Reply, ReportedCall

_TEMPERATURE = re.compile(r"([-−–]?\d+(?:\.\d+)?)\s?(?:°(?!\s?f)|degrees(?!\sf))", re.IGNORECASE)
"""Only degrees Celsius count; a value in Fahrenheit beside them is neither needed nor invented."""
_MINUTE = timedelta(minutes=1)


def score_answers(suite: AgentSuite, case: AgentCase, replies: Sequence[Reply]) -> list[str]:
    """Return what is wrong about the answer of each turn; empty strings where nothing is."""
    heard: list[str] = []
    found: list[str] = []
    for turn, reply in zip(case.turns, replies, strict=True):
        heard += [place for places in turn.arguments_of(WEATHER_TOOL) for place in places]
        found.append(wrong_answer(turn, reply, suite.weather, heard))
    return found


def score_calls(suite: AgentSuite, case: AgentCase, replies: Sequence[Reply]) -> list[str]:
    """Return what is wrong about the tool calls of each turn; empty strings where nothing is."""
    return [wrong_calls(turn, reply) for turn, reply in zip(case.turns, replies, strict=True)]


def wrong_calls(expected: AgentTurn, reply: Reply) -> str:
    """Return what is wrong about the calls of a turn, or an empty text if nothing is. Order and repetition are free."""
    if reply.problem:
        return reply.problem
    called = {_call_key(call) for call in reply.calls}
    wanted = [
        (f"{tool}({' or '.join(choices)})", {(tool, _argument_key(tool, choice)) for choice in choices})
        for tool, choices in expected.expected
    ]
    missing = [name for name, keys in wanted if not called & keys]
    allowed = {key for _, keys in wanted for key in keys}
    allowed |= {(tool, _argument_key(tool, argument)) for tool, argument in expected.tolerated}
    extra = [str(call) for call in reply.calls if _call_key(call) not in allowed]
    told = [f"{', '.join(missing)} not called"] if missing else []
    told += [f"{', '.join(extra)} called"] if extra else []
    return "; ".join(told)


def wrong_answer(expected: AgentTurn, reply: Reply, weather: Mapping[str, PlaceWeather], heard: Sequence[str]) -> str:
    """Return what is wrong about the answer of a turn, or an empty text if nothing is.

    Args:
        heard: places whose weather was asked for in this conversation so far, this turn included.
    """
    if reply.problem:
        return reply.problem
    if not reply.response.strip():
        return "the answer is empty"
    text, told = spoken(reply.response), []
    told += [
        f"says none of {', '.join(map(repr, group))}"
        for group in expected.says
        if not any(spoken(w) in text for w in group)
    ]
    told += [f"says {phrase!r}" for phrase in expected.never if spoken(phrase) in text]
    told += [_weather_problem(reply.response, places, weather) for places in expected.arguments_of(WEATHER_TOOL)]
    told += [_time_problem(reply, zones[0]) for zones in expected.arguments_of(TIME_TOOL)]
    told.append(_invented(reply.response, [weather[place].celsius for place in heard if place in weather]))
    return "; ".join(filter(None, told))


def _call_key(call: ReportedCall) -> tuple[str, str]:
    parameter = PARAMETERS.get(call.name, "")
    if set(call.arguments) != {parameter}:
        return call.name, repr(sorted(call.arguments.items()))
    return call.name, _argument_key(call.name, str(call.arguments[parameter]))


def _argument_key(tool: str, argument: str) -> str:
    """`Paris, France` is Paris; a time zone is a code and must be exact."""
    return normalized(argument.partition(",")[0]) if tool == WEATHER_TOOL else argument.strip()


def _temperatures(text: str) -> list[float]:
    return [float(found.replace("−", "-").replace("–", "-")) for found in _TEMPERATURE.findall(spoken(text))]


def _weather_problem(text: str, places: Sequence[str], weather: Mapping[str, PlaceWeather]) -> str:
    """The temperature must be there; where the answer gives none at all, the sky will do."""
    known = next((weather[place] for place in places if place in weather), None)
    if known is None:
        return ""
    given = _temperatures(text)
    if known.celsius in given or (not given and known.sky.casefold() in text.casefold()):
        return ""
    return f"does not say that it is {known.celsius}°C ({known.sky}) in {places[0]}"


def _invented(text: str, true: Sequence[int]) -> str:
    false = [f"{value:g}°" for value in _temperatures(text) if value not in true]
    return f"invents {', '.join(false)}" if false else ""


def _time_problem(reply: Reply, zone: str) -> str:
    """The time there when it was asked; a minute either way, since clocks and answers take time."""
    begin = reply.asked_at.astimezone(ZoneInfo(zone)) - _MINUTE
    minutes = int(reply.seconds // 60) + 3
    allowed = [begin + i * _MINUTE for i in range(minutes)]
    text = spoken(reply.response).upper().replace("A.M.", "AM").replace("P.M.", "PM")
    for moment in allowed:
        half = f"{moment.hour % 12 or 12}:{moment:%M}"
        if re.search(rf"(?<![\d:]){moment:%H:%M}(?!\d)", text) or re.search(rf"(?<![\d:])0?{half} ?{moment:%p}", text):
            return ""
    return f"does not say that it is {allowed[1]:%H:%M} in {zone}"
