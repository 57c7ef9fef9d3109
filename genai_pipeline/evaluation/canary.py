"""Ask a live agent one question of a suite, whose right answer and tools are known. Used by the watch."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from genai_pipeline.core.verdict import Asked
from genai_pipeline.evaluation.agent_client import AgentClient
from genai_pipeline.evaluation.agent_scoring import score_answers, score_calls
from genai_pipeline.evaluation.agent_suite import WEATHER_TOOL, AgentCase, AgentSuite
from genai_pipeline.evaluation.current_weather import DEMO_ONLY, with_weather_of
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.evaluation.suite_files import load_agent_suite

TIMEOUT_S = 15.0


def ask_one(
    agent_url: str, suite: str | AgentSuite, number: int, weather_url: str | None = None, unsolved: Collection[str] = ()
) -> Asked:
    """Ask the `number`-th case of those with one turn and a tool to call that the release solved before.

    Args:
        suite: a suite, or the name of one in `suites/`.
        weather_url: the agent's own weather service, which then says what is right.
        unsolved: names of cases that the release did not solve; they are not asked.
    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    whole = _loaded(suite) if isinstance(suite, str) else suite
    cases = [case for case in whole.cases if _fits(case) and case.name not in unsolved]
    if not cases:
        return Asked("nothing", None, f"the suite {whole.name} has no case with one turn and a tool to call")
    case = cases[number % len(cases)]
    asked = whole.model_copy(update={"cases": (case,), "weather": _weather_for(whole, case)})
    try:
        asked = with_weather_of(asked, weather_url) if weather_url else asked
        with AgentClient(agent_url, TIMEOUT_S) as agent:
            reply = agent.ask(case.turns[0].ask)
    except NotMeasured as error:
        return Asked(case.name, None, error.reason)
    wrong = [*score_answers(asked, case, [reply]), *score_calls(asked, case, [reply])]
    told = "; ".join(dict.fromkeys(filter(None, wrong)))
    return Asked(case.name, not told, told or "right")


def _fits(case: AgentCase) -> bool:
    return len(case.turns) == 1 and bool(case.turns[0].expected) and DEMO_ONLY not in case.tags


def _weather_for(suite: AgentSuite, case: AgentCase) -> dict[str, object]:
    places = {place for choices in case.turns[0].arguments_of(WEATHER_TOOL) for place in choices}
    return {place: weather for place, weather in suite.weather.items() if place in places}


@cache
def _loaded(name: str) -> AgentSuite:
    return load_agent_suite(name)
