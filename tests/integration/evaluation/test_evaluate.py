"""Each way in which an agent can be wrong makes exactly the verdict it should, with a reason a person can read."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.gates import AgentGates
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.evaluation import agent_asker
from genai_pipeline.evaluation.agent_asker import AgentAsker
from genai_pipeline.evaluation.agent_client import AgentClient
from genai_pipeline.evaluation.agent_suite import AgentCase, AgentSuite
from genai_pipeline.evaluation.comparison import CHECK
from genai_pipeline.evaluation.evaluate import AgentReport, Baseline, EvaluationSettings, evaluate
from genai_pipeline.evaluation.outcome import RunOutcome
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.runner import RunSettings, run_suite
from genai_pipeline.evaluation.suite_files import load_agent_suite
from genai_pipeline.local.weather_server import WeatherServer
from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.scripted_model import Messages, Say, Script, ScriptedModel, results_of, solves, text_of

GATES = AgentGates(latency_p95_s=60)  # a busy machine is slow, and one test alone is about that
ALL_PASSED = dict.fromkeys(("task_success", "tool_accuracy", "sessions_isolated", "latency"), "passed")


@pytest.fixture(scope="module")
def weather() -> Iterator[WeatherServer]:
    server = WeatherServer(hang_s=10)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def suite() -> AgentSuite:
    """Ten single turns of the real suite: enough to be judged, few enough to be quick."""
    whole = load_agent_suite("weather")
    single = [c for c in whole.cases if len(c.turns) == 1 and "tool-error" not in c.tags and c.turns[0].calls]
    return whole.model_copy(update={"cases": tuple(single[:6] + single[-6:-2])})


@contextmanager
def agent_on(script: Script, weather: WeatherServer, **settings: float) -> Iterator[RunningAgent]:
    with (
        ScriptedModel(script) as model,
        running_agent(model.url, weather.url, weather_timeout_s=2.0, **settings) as agent,
    ):
        yield agent


def outcomes(report: AgentReport) -> dict[str, str]:
    assert [v.check for v in report.verdicts] == list(ALL_PASSED)
    assert {v.check for v in report.verdicts} <= set(CHECKS["agent_report"])
    return {v.check: str(v.outcome) for v in report.verdicts}


def verdict(report: AgentReport, check: str) -> Verdict:
    return next(v for v in report.verdicts if v.check == check)


def changed(script: Script, change: Callable[[Messages, Say], Say]) -> Script:
    return lambda messages: change(messages, script(messages))


def test_an_agent_that_gets_the_whole_suite_right_passes(weather: WeatherServer):
    suite, said = load_agent_suite("weather"), list[str]()
    with agent_on(solves(suite), weather) as agent:
        report = evaluate(agent.url, "weather", GATES, on_progress=said.append)

    assert outcomes(report) == ALL_PASSED
    assert [row["case"] for row in report.cases] == [case.name for case in suite.cases]
    assert report.summary["solved"] == len(suite.cases)
    assert said[-1] == f"{len(suite.cases)} of {len(suite.cases)} conversations held"


def test_an_agent_that_calls_a_tool_too_many_fails_on_tools_only(weather: WeatherServer, suite: AgentSuite):
    def also_the_time(messages: Messages, say: Say) -> Say:
        return Say(calls=[*say.calls, ("get_current_time", {"timezone": "UTC"})]) if say.calls else say

    with agent_on(changed(solves(suite), also_the_time), weather) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"tool_accuracy": "failed"}
    assert "get_current_time(UTC) called" in verdict(report, "tool_accuracy").summary


def test_an_agent_that_asks_for_the_wrong_place_fails_on_tools_and_facts(weather: WeatherServer, suite: AgentSuite):
    asked = {turn.ask for case in suite.cases for turn in case.turns}

    def paris(messages: Messages, say: Say) -> Say:
        wrong = [(n, {"location": "Paris"} if n == "get_weather" else a) for n, a in say.calls]
        return Say(calls=wrong) if say.calls and text_of(messages[-1]) in asked else say

    with agent_on(changed(solves(suite), paris), weather) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"tool_accuracy": "failed", "task_success": "failed"}
    assert "get_weather(Berlin) not called; get_weather(Paris) called" in verdict(report, "tool_accuracy").summary
    assert "does not say that it is 9°C (overcast) in Berlin" in verdict(report, "task_success").summary


def test_an_agent_that_ignores_what_its_tools_say_fails_on_success_only(weather: WeatherServer, suite: AgentSuite):
    def invent(messages: Messages, say: Say) -> Say:
        about = next((r.split(":")[0] for r in results_of(messages)), "")
        return Say(f"It is 99°C in {about} at half past noon.") if messages[-1]["role"] == "tool" else say

    with agent_on(changed(solves(suite), invent), weather) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"task_success": "failed"}
    assert "invents 99°" in verdict(report, "task_success").summary


def test_an_agent_with_one_conversation_for_all_fails_on_isolation_only(weather: WeatherServer, suite: AgentSuite):
    with agent_on(solves(suite), weather) as agent:
        shared = agent.sessions
        one_for_all, enter = "one-session-for-everybody", shared._enter
        shared._enter = lambda session_id: enter(one_for_all)
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"sessions_isolated": "failed"}
    assert "'s session is about " in verdict(report, "sessions_isolated").summary


def test_an_agent_without_memory_does_not_prove_isolation(weather: WeatherServer, suite: AgentSuite):
    with agent_on(solves(suite), weather) as agent:
        fresh, enter = count(), agent.sessions._enter
        agent.sessions._enter = lambda session_id: enter(f"{next(fresh)}")
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"sessions_isolated": "inconclusive"}


def test_a_slow_agent_fails_on_latency_only(weather: WeatherServer, suite: AgentSuite):
    def slow(messages: Messages, say: Say) -> Say:
        return Say(say.text, say.calls, wait_s=0.15)

    with agent_on(changed(solves(suite), slow), weather) as agent:
        report = evaluate(agent.url, suite, AgentGates(latency_p95_s=0.25))

    assert outcomes(report) == ALL_PASSED | {"latency": "failed"}
    assert "(limit 0.25 s)" in verdict(report, "latency").summary


def test_an_agent_that_is_down_is_inconclusive_at_once(suite: AgentSuite):
    report = evaluate("http://127.0.0.1:9", suite, GATES)

    assert outcomes(report) == dict.fromkeys(ALL_PASSED, "inconclusive")
    assert "could not be reached" in verdict(report, "task_success").summary
    assert {row["success"] for row in report.cases} == {"not measured"}


def test_an_agent_whose_model_is_down_is_inconclusive(weather: WeatherServer, suite: AgentSuite):
    with running_agent("http://127.0.0.1:9/v1", weather.url) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == dict.fromkeys(ALL_PASSED, "inconclusive")
    assert "Check that it runs" in verdict(report, "task_success").summary


def test_an_agent_that_dies_half_way_is_inconclusive_and_not_asked_for_ever(
    weather: WeatherServer, suite: AgentSuite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("genai_pipeline.evaluation.agent_client._LONGEST_PAUSE_S", 0.01)
    turns = count()

    def dying(messages: Messages, say: Say) -> Say:
        return say if next(turns) < 33 else Say("engine dead", status=500)

    with agent_on(changed(solves(suite), dying), weather, max_concurrent=16) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report)["task_success"] == "inconclusive"
    assert outcomes(report)["tool_accuracy"] == "inconclusive"
    assert any(row["reason"].startswith("not asked: 5 conversations") for row in report.cases)


def test_an_agent_that_answers_with_its_own_errors_has_failed(weather: WeatherServer, suite: AgentSuite):
    def endless(messages: Messages, say: Say) -> Say:
        return Say(calls=[("get_current_time", {"timezone": "UTC"})])

    def asks_isolation(messages: Messages) -> bool:
        return any(place in text_of(m) for place in suite.isolation.places for m in messages)

    solved = solves(suite)
    with agent_on(lambda m: solved(m) if asks_isolation(m) else endless(m, Say()), weather) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"task_success": "failed", "tool_accuracy": "failed"}
    assert "the agent answered 502: The model asked for tools" in verdict(report, "task_success").summary


def test_an_evaluator_that_breaks_is_inconclusive_never_a_score_of_zero(
    weather: WeatherServer, suite: AgentSuite, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> list[str]:
        raise RuntimeError("the judge is ill")

    monkeypatch.setitem(agent_asker.SCORES, "answers", broken)
    with agent_on(solves(suite), weather) as agent:
        report = evaluate(agent.url, suite, GATES)

    assert outcomes(report) == ALL_PASSED | {"task_success": "inconclusive"}
    assert "the judge is ill" in verdict(report, "task_success").summary


def test_another_service_on_the_port_is_not_an_agent(weather: WeatherServer, suite: AgentSuite):
    report = evaluate(weather.url, suite, GATES)

    assert outcomes(report) == dict.fromkeys(ALL_PASSED, "inconclusive")


def test_a_case_that_only_some_runs_solve_is_flaky_and_not_solved(weather: WeatherServer, suite: AgentSuite):
    solved, asked, first = solves(suite), count(), suite.cases[0].turns[0].ask

    def moody(messages: Messages) -> Say:
        if text_of(messages[-1]) == first and next(asked) == 1:
            return Say("Not today.")
        return solved(messages)

    with agent_on(moody, weather) as agent:
        report = evaluate(agent.url, suite, GATES.model_copy(update={"repeat": 3}))

    assert outcomes(report) == ALL_PASSED
    assert report.results
    assert report.results.flaky == [suite.cases[0].name]
    assert (report.summary["runs"], report.summary["flaky"], report.summary["solved"]) == (30, 1, 9)
    assert report.cases[0]["runs"] == "2 of 3"
    assert report.cases[0]["response"] == "Not today."
    assert {len(case.runs) for case in report.results.cases} == {3}


def test_what_a_turn_cost_is_kept_by_run_and_by_cycle(weather: WeatherServer, suite: AgentSuite):
    with agent_on(solves(suite), weather) as agent:
        report = evaluate(agent.url, suite, GATES, EvaluationSettings(usd_per_million_tokens=10.0))

    assert report.results
    (run,) = report.results.cases[0].runs
    assert (run.input_tokens, run.output_tokens) == (18, 6)
    assert len(run.cycles_s) == 2
    assert 0 < sum(run.cycles_s) < run.seconds
    assert run.transcript[0]["calls"][0]["ms"] > 0
    assert report.summary["cost_usd"] == pytest.approx(report.summary["output_tokens"] / 100_000)
    assert report.summary["cycle_p95_s"] > 0


def stored_of(report: AgentReport, release: str = "r1") -> Results:
    assert report.results
    return replace(report.results, model="tiny", release=release)


def test_a_candidate_is_compared_with_what_live_did_with_the_same_cases(weather: WeatherServer, suite: AgentSuite):
    def deaf(messages: Messages, say: Say) -> Say:
        return Say("Pardon?") if say.calls else say

    with agent_on(solves(suite), weather) as live, agent_on(changed(solves(suite), deaf), weather) as candidate:
        stored = stored_of(evaluate(live.url, suite, GATES))
        worse = evaluate(candidate.url, suite, GATES, against=Baseline("r1", "http://127.0.0.1:9", stored))
        better = evaluate(live.url, suite, GATES, against=Baseline("r0", "", stored_of(worse, "r0")))

    assert verdict(worse, CHECK).outcome == "failed"
    assert verdict(worse, CHECK).evidence["lost"] == 10
    assert verdict(better, CHECK).outcome == "passed"
    assert verdict(better, CHECK).evidence["gained"] == 10


@pytest.mark.parametrize("stored", ["none", "of another version", "asked once", "partly measured"])
def test_live_is_asked_the_same_cases_now_where_its_results_do_not_say(
    weather: WeatherServer, suite: AgentSuite, stored: str
):
    said, kept = list[str](), list[Results]()
    gates = GATES.model_copy(update={"repeat": 2})
    with agent_on(solves(suite), weather) as live:
        good = stored_of(evaluate(live.url, suite, gates))
        unmeasured = replace(good.cases[0], runs=(RunOutcome(None, None, "no answer"),) * 2)
        before = {
            "none": None,
            "of another version": replace(good, digest="0" * 64),
            "asked once": replace(good, cases=tuple(replace(c, runs=c.runs[:1]) for c in good.cases)),
            "partly measured": replace(good, cases=(unmeasured, *good.cases[1:])),
        }[stored]
        report = evaluate(
            live.url, suite, gates, on_progress=said.append, against=Baseline("r1", live.url, before, keep=kept.append)
        )

    assert verdict(report, CHECK).outcome == "passed"
    assert verdict(report, CHECK).evidence["pairs"] == 10
    assert any("cannot be compared" in line and "asked now" in line for line in said)
    assert [(results.release, results.measured) for results in kept] == [("r1", 10)]


def test_live_that_cannot_be_asked_makes_the_comparison_inconclusive_and_nothing_else(
    weather: WeatherServer, suite: AgentSuite
):
    kept = list[Results]()
    with agent_on(solves(suite), weather) as agent:
        report = evaluate(agent.url, suite, GATES, against=Baseline("r1", "http://127.0.0.1:9", keep=kept.append))

    found = verdict(report, CHECK)
    assert {v.check: str(v.outcome) for v in report.verdicts} == ALL_PASSED | {CHECK: "inconclusive"}
    assert "could not be reached" in found.summary
    assert kept == []


@pytest.mark.parametrize(
    ("against", "words"),
    [
        (Baseline(None), "Nothing is live"),
        (Baseline("r1", itself=True), "live"),
        (Baseline("r1", has_agent=False), "r1 has no agent"),
    ],
)
def test_a_first_release_and_the_live_one_have_nothing_to_be_worse_than(
    weather: WeatherServer, suite: AgentSuite, against: Baseline, words: str
):
    with agent_on(solves(suite), weather) as agent:
        found = verdict(evaluate(agent.url, suite, GATES, against=against), CHECK)

    assert found.outcome == "passed"
    assert words in found.summary


class Picky:
    """A judge that likes no answer about Berlin, and falls ill over Boston."""

    def about(self):
        return {"model": "picky"}

    def judge(self, rubric: str, prompt: str, response: str):
        if "Boston" in prompt:
            raise NotMeasured("the judge is ill")
        return SimpleNamespace(passed="Berlin" not in response, reason="no fun")


def test_a_judge_has_a_say_on_rubrics_only_and_what_it_cannot_say_is_not_measured(
    weather: WeatherServer, suite: AgentSuite
):
    def with_rubric(case: AgentCase) -> AgentCase:
        turn = case.turns[0].model_copy(update={"rubric": "Is it fun?"})
        return case.model_copy(update={"turns": (turn,)})

    asked = suite.model_copy(update={"cases": (*map(with_rubric, suite.cases[:2]), *suite.cases[2:])})
    with agent_on(solves(suite), weather) as agent:
        judged = evaluate(agent.url, asked, GATES, EvaluationSettings(judge=Picky()))
        alone = evaluate(agent.url, asked, GATES)

    assert [row["success"] for row in judged.cases[:3]] == ["no", "not measured", "yes"]
    assert [row["reason"] for row in judged.cases[:2]] == ["the judge: no fun", "not judged: the judge is ill"]
    assert judged.results
    assert judged.results.judge == {"model": "picky"}
    assert [row["success"] for row in alone.cases[:2]] == ["yes", "yes"]


def test_after_its_deadline_nothing_more_is_asked(weather: WeatherServer, suite: AgentSuite):
    with agent_on(solves(suite), weather) as agent, AgentClient(agent.url) as client:
        results = run_suite(AgentAsker(client, suite), suite, RunSettings(deadline_s=-1))

    assert {result.problem for result in results} >= {"not asked: the evaluation's deadline was over"}
    assert all(result.success is None for result in results)


def test_a_suite_can_be_a_file_of_ones_own(weather: WeatherServer, tmp_path: Path):
    text = Path(load_agent_suite.__globals__["SUITES"], "weather.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text)

    assert load_agent_suite("mine", tmp_path) == load_agent_suite("weather")
