"""The weather as the agent's own weather service reports it now, so that a suite also holds on real weather.

Cases that need the demo's weather, or a place that fails on purpose (tag `demo-data`), are left out on any other
service.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx

from genai_pipeline.evaluation.agent_client import NotMeasured
from genai_pipeline.evaluation.suite import Suite, Weather

DEMO_ONLY = "demo-data"
_SIDE_BY_SIDE = 4
_TIMEOUT_S = 20.0


def with_weather_of(suite: Suite, weather_url: str) -> Suite:
    """The suite with the weather that the service reports now.

    Raises: NotMeasured: the service does not answer, so nobody knows what is right.
    """
    with (
        httpx.Client(base_url=weather_url, timeout=_TIMEOUT_S, headers={"Accept": "application/json"}) as http,
        ThreadPoolExecutor(_SIDE_BY_SIDE) as pool,
    ):
        answers = list(pool.map(lambda place: _ask(http, place), suite.weather))
    demo = all("demo data" in str(answer.get("source", "")) for answer in answers)
    cases = tuple(case for case in suite.cases if demo or DEMO_ONLY not in case.tags)
    weather = {place: _weather(place, answer) for place, answer in zip(suite.weather, answers, strict=True)}
    return suite.model_copy(update={"weather": weather, "cases": cases})


def _ask(http: httpx.Client, place: str) -> dict[str, Any]:
    try:
        response = http.get(f"/{quote(place, safe='')}", params={"format": "j1"})
        response.raise_for_status()
        return dict(response.json())
    except (httpx.HTTPError, ValueError, TypeError) as error:
        raise NotMeasured(f"the weather service {http.base_url} did not say what is right ({error})") from error


def _weather(place: str, answer: dict[str, Any]) -> Weather:
    try:
        now = answer["current_condition"][0]
        return Weather(sky=str(now["weatherDesc"][0]["value"]).strip() or "?", celsius=int(now["temp_C"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise NotMeasured(f"the weather service said nothing sensible about {place} ({error!r})") from error
