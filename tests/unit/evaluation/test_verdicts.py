from dataclasses import replace
from datetime import UTC, datetime

import pytest

from genai_pipeline.core.gates import AgentGates
from genai_pipeline.core.verdict import Outcome, Verdict
from genai_pipeline.evaluation.agent_suite import AgentCase
from genai_pipeline.evaluation.collecting import case_rows, outcomes_of
from genai_pipeline.evaluation.isolation import SessionResult
from genai_pipeline.evaluation.reply import Reply, ReportedCall
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.runner import CaseRun
from genai_pipeline.evaluation.verdicts import judge_success, judge_suite

GATES = AgentGates(task_success_min=0.9, tool_accuracy_min=0.9, latency_p95_s=10)
AT = datetime(2026, 11, 24, tzinfo=UTC)


def case(
    number: int, answer: str | None = "", call: str | None = "", seconds: float = 1.0, waited_s: float = 0.0
) -> CaseRun:
    """A case of one turn; None is not measured."""
    asked = AgentCase.model_validate({"name": f"case-{number}", "tags": ["t"], "turns": [{"ask": "Hi"}]})
    if answer is None and call is None:
        return CaseRun(asked, problem="no connection", waited_s=waited_s)
    replies = [Reply(AT, seconds, "Hello", "s")]
    return CaseRun(
        asked,
        replies,
        None if answer is None else [answer],
        None if call is None else [call],
        "broke" if None in (answer, call) else "",
    )


def cases(right: int, wrong: int = 0, unknown: int = 0) -> list[CaseRun]:
    kinds = (
        ["", *[""] * (right - 1), *["bad"] * wrong, *[None] * unknown]
        if right
        else [*["bad"] * wrong, *[None] * unknown]
    )
    return [case(i, kind, kind) for i, kind in enumerate(kinds)]


def session(
    place: str, follow_up: str = "", called: str = "", session_id: str = "", problem: str = ""
) -> SessionResult:
    own = f"id-{place}"
    calls = (ReportedCall("get_weather", {"location": called or place}, "success"),)
    replies = [
        Reply(AT, 1, f"Rain in {place}", own, calls),
        Reply(AT, 1, follow_up or f"{place}: rain", session_id or own, calls),
    ]
    return SessionResult(place, own, [] if problem else replies, problem)


SESSIONS = [session("Plzeň"), session("Tromsø"), session("Nha Trang")]


def verdict(check: str, results: list[CaseRun], sessions: list[SessionResult] = SESSIONS) -> Verdict:
    found = {v.check: v for v in judge_suite(results, sessions, GATES)}
    assert set(found) == {"task_success", "tool_accuracy", "sessions_isolated", "latency"}
    return found[check]


@pytest.mark.parametrize("check", ["task_success", "tool_accuracy"])
@pytest.mark.parametrize(
    ("right", "wrong", "unknown", "outcome"),
    [
        (10, 0, 0, "passed"),
        (9, 1, 0, "passed"),
        (8, 2, 0, "failed"),
        (9, 0, 1, "passed"),
        (8, 1, 1, "inconclusive"),
        (8, 0, 2, "inconclusive"),
        (7, 2, 1, "failed"),
        (0, 0, 10, "inconclusive"),
        (0, 0, 0, "inconclusive"),
    ],
)
def test_a_rate_is_judged_only_where_the_unmeasured_cannot_change_it(
    check: str, right: int, wrong: int, unknown: int, outcome: str
):
    assert verdict(check, cases(right, wrong, unknown)).outcome == outcome


def test_a_failed_rate_says_the_value_the_limit_and_the_cases():
    found = verdict("task_success", cases(8, 2))

    assert found.summary == (
        "8 of 10 cases solved (80.0%, at least 90% needed). "
        "95% interval: 49.0% to 94.3%. Wrong: case-8: bad | case-9: bad."
    )


def test_a_gate_of_nothing_is_not_passed_where_nothing_was_measured():
    none = judge_success(outcomes_of(cases(0, 0, 5)), 0.0)

    assert none.outcome is Outcome.INCONCLUSIVE
    assert judge_success(outcomes_of(cases(0, 5)), 0.0).outcome is Outcome.PASSED


def test_success_and_tools_are_judged_apart():
    results = [case(i, answer="bad" if i < 5 else "") for i in range(10)]

    assert verdict("task_success", results).outcome is Outcome.FAILED
    assert verdict("tool_accuracy", results).outcome is Outcome.PASSED


def test_an_evaluator_that_broke_makes_its_own_verdict_inconclusive():
    results = [case(i, answer=None if i < 5 else "") for i in range(10)]

    assert verdict("task_success", results).outcome is Outcome.INCONCLUSIVE
    assert "broke" in verdict("task_success", results).summary
    assert verdict("tool_accuracy", results).outcome is Outcome.PASSED


def test_sessions_that_keep_to_themselves_are_isolated():
    assert verdict("sessions_isolated", cases(10)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "leaking",
    [
        session("Plzeň", follow_up="It rains in Tromso."),
        session("Plzeň", called="Tromsø"),
        session("Plzeň", session_id="other"),
    ],
)
def test_a_session_that_shows_another_ones_place_fails(leaking: SessionResult):
    found = verdict("sessions_isolated", cases(10), [leaking, *SESSIONS[1:]])

    assert found.outcome is Outcome.FAILED
    assert "Plzeň's session" in found.summary


def test_sessions_without_memory_do_not_prove_isolation():
    forgetful = [
        SessionResult(s.place, s.session_id, [s.replies[0], Reply(AT, 1, "Which place?", s.session_id)])
        for s in SESSIONS
    ]

    assert verdict("sessions_isolated", cases(10), forgetful).outcome is Outcome.INCONCLUSIVE


def test_sessions_that_got_no_answer_are_inconclusive():
    found = verdict("sessions_isolated", cases(10), [session(s.place, problem="no connection") for s in SESSIONS])

    assert found.outcome is Outcome.INCONCLUSIVE
    assert "no connection" in found.summary


def test_a_leak_is_a_leak_even_when_others_got_no_answer():
    sessions = [
        session("Plzeň", follow_up="Tromsø"),
        session("Tromsø", problem="down"),
        session("Nha Trang", problem="down"),
    ]

    assert verdict("sessions_isolated", cases(10), sessions).outcome is Outcome.FAILED


def test_latency_is_the_95th_percentile_of_the_turns():
    slow = [case(i, seconds=12.0 if i < 2 else 1.0) for i in range(20)]

    assert verdict("latency", slow).outcome is Outcome.FAILED
    assert verdict("latency", slow[1:]).evidence["p95_s"] == 12.0
    assert verdict("latency", [case(i, seconds=12.0 if i < 1 else 1.0) for i in range(20)]).outcome is Outcome.PASSED


def test_a_turn_that_timed_out_counts_as_slow():
    results = [*cases(18), case(18, None, None, waited_s=60), case(19, None, None, waited_s=60)]

    assert verdict("latency", results).outcome is Outcome.FAILED


def test_unanswered_turns_make_latency_inconclusive_where_they_matter():
    assert verdict("latency", [*cases(18), case(18, None, None), case(19, None, None)]).outcome is Outcome.INCONCLUSIVE
    assert verdict("latency", [*cases(19), case(19, None, None)]).outcome is Outcome.PASSED
    assert verdict("latency", [case(i, None, None) for i in range(20)]).outcome is Outcome.INCONCLUSIVE


def repeated(number: int, *answers: str, weight: float = 1.0) -> list[CaseRun]:
    """A case that is run as often as there are answers."""
    runs = [case(number, answer) for answer in answers]
    asked = runs[0].case.model_copy(update={"weight": weight})
    return [replace(run, case=asked, number=n) for n, run in enumerate(runs, 1)]


def test_a_case_that_only_some_runs_solved_counts_as_not_solved_and_is_named():
    runs = [run for i in range(9) for run in repeated(i, "", "", "")] + repeated(9, "", "bad", "")

    found = verdict("task_success", runs)

    assert (found.evidence["right"], found.evidence["wrong"], found.evidence["flaky"]) == (9, 1, ["case-9"])
    assert "case-9: bad (flaky)" in found.summary
    assert found.evidence["interval_high"] < 1


def test_weights_count_in_the_rate_and_not_in_the_interval():
    light = [run for i in range(9) for run in repeated(i, "")]

    assert verdict("task_success", [*light, *repeated(9, "bad", weight=0.5)]).outcome is Outcome.PASSED
    heavy = verdict("task_success", [*light, *repeated(9, "bad", weight=5)])

    assert heavy.outcome is Outcome.FAILED
    assert heavy.summary.startswith("9 of 10 cases solved (64.3% by weight, at least 90% needed). 95% interval: 59.6%")


def test_the_table_has_a_flat_row_per_case_that_a_person_can_read():
    runs = [*cases(0, 1, 1), *repeated(7, "", "bad", "")]
    results = Results("s", "d", tuple(outcomes_of(runs)), "2026-11-24T00:00:00Z", usd_per_million_tokens=2.0)

    row = case_rows(runs, results)

    assert [r["success"] for r in row] == ["no", "not measured", "no"]
    assert [r["runs"] for r in row] == ["0 of 1", "0 of 1", "2 of 3"]
    assert [r["flaky"] for r in row] == ["", "", "flaky"]
    assert [r["reason"] for r in row] == ["bad", "no connection", "bad"]
    assert set(row[0]) >= {"case", "tags", "prompt", "expected_tools", "called_tools", "response", "success", "seconds"}
    assert all(isinstance(value, str | float | int) for r in row for value in r.values())
