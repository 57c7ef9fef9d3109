"""Take the weather from the agent's own weather service, so that a suite also works on real weather.

Cases with the tag `demo-data` need the demo's weather, or a place that fails on purpose. They are left out where the
service is another one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx

from genai_pipeline.evaluation.agent_suite import AgentSuite, PlaceWeather
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.gateways.connections import is_loopback

DEMO_ONLY = "demo-data"
_JSON = {"Accept": "application/json"}
_SIDE_BY_SIDE = 4
_TIMEOUT_S = 20.0


def with_weather_of(suite: AgentSuite, weather_url: str) -> AgentSuite:
    """Return the suite with the weather that the service reports now.

    Raises: NotMeasured: the service does not answer, so that the right answers are not known.
    """
    with (
        httpx.Client(
            base_url=weather_url, timeout=_TIMEOUT_S, headers=_JSON, trust_env=not is_loopback(weather_url)
        ) as http,
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
        raise NotMeasured(f"the weather service {http.base_url} did not report the weather ({error})") from error


def _weather(place: str, answer: dict[str, Any]) -> PlaceWeather:
    try:
        now = answer["current_condition"][0]
        return PlaceWeather(sky=str(now["weatherDesc"][0]["value"]).strip() or "?", celsius=int(now["temp_C"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise NotMeasured(f"the weather service reported no weather for {place} ({error!r})") from error
