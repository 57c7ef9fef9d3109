import json

import pytest

from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome

RUN = RunOutcome(
    True, None, "Zürich: °C missing", 1.25, (0.5, 0.75), 812, 9, ({"prompt": "Hi", "response": "São", "calls": []},)
)


def case(*solved: bool | None) -> CaseOutcome:
    return CaseOutcome("a-case", ("t",), 1.0, tuple(RunOutcome(one, True) for one in solved))


@pytest.mark.parametrize(
    ("runs", "solved", "flaky"),
    [
        ((True,), True, False),
        ((False,), False, False),
        ((True, True, True), True, False),
        ((True, False, True), False, True),
        ((True, None, False), False, True),
        ((True, None), None, False),
        ((False, None), False, False),
        ((None,), None, False),
        ((), None, False),
    ],
)
def test_a_case_is_solved_only_if_every_run_solved_it(
    runs: tuple[bool | None, ...], solved: bool | None, flaky: bool
) -> None:
    assert (case(*runs).solved, case(*runs).flaky) == (solved, flaky)


def test_outcomes_survive_json_unchanged() -> None:
    for run in (RUN, RunOutcome(None, None, "no answer")):
        assert RunOutcome.from_json(json.loads(json.dumps(run.to_json()))) == run


def test_reasons_are_reported_once_and_tokens_summed() -> None:
    whole = CaseOutcome("a-case", (), 1.0, (RUN, RUN, RunOutcome(True, True, "", 0.5, (), 8, 1)))

    assert (whole.reason, whole.tokens, whole.seconds) == ("Zürich: °C missing", (1632, 19), 1.0)
