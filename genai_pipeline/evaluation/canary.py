"""One question out of a suite, for the watch over a live agent: its answer and its tools are known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from genai_pipeline.evaluation.agent_client import AgentClient, NotMeasured
from genai_pipeline.evaluation.runner import score_answers, score_calls
from genai_pipeline.evaluation.suite import WEATHER_TOOL, Suite, SuiteCase, load_suite
from genai_pipeline.evaluation.truth import DEMO_ONLY, with_weather_of

TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Answered:
    """`right` is None where it could not be judged; `said` is what was wrong, or why it could not."""

    case: str
    right: bool | None
    said: str


def ask_one(
    agent_url: str, suite: str | Suite, number: int, weather_url: str | None = None, unsolved: Collection[str] = ()
) -> Answered:
    """Ask the `number`-th of the cases that fit: one turn, a tool to call, and solved when the release was evaluated.

    Args:
        suite: a suite, or the name of one in `suites/`.
        weather_url: the agent's own weather service, which then says what is right.
        unsolved: names of cases that are not asked.
    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    whole = _loaded(suite) if isinstance(suite, str) else suite
    cases = [case for case in whole.cases if _fits(case) and case.name not in unsolved]
    if not cases:
        return Answered("nothing", None, f"no case of {whole.name} fits")
    case = cases[number % len(cases)]
    asked = whole.model_copy(update={"cases": (case,), "weather": _weather_for(whole, case)})
    try:
        asked = with_weather_of(asked, weather_url) if weather_url else asked
        with AgentClient(agent_url, TIMEOUT_S) as agent:
            reply = agent.ask(case.turns[0].ask)
    except NotMeasured as error:
        return Answered(case.name, None, error.reason)
    wrong = [*score_answers(asked, case, [reply]), *score_calls(asked, case, [reply])]
    told = "; ".join(dict.fromkeys(filter(None, wrong)))
    return Answered(case.name, not told, told or "right")


def _fits(case: SuiteCase) -> bool:
    return len(case.turns) == 1 and bool(case.turns[0].expected) and DEMO_ONLY not in case.tags


def _weather_for(suite: Suite, case: SuiteCase) -> dict[str, object]:
    places = {place for choices in case.turns[0].arguments_of(WEATHER_TOOL) for place in choices}
    return {place: weather for place, weather in suite.weather.items() if place in places}


@cache
def _loaded(name: str) -> Suite:
    return load_suite(name)
