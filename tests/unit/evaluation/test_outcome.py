import json

import pytest

from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome

RUN = RunOutcome(
    True, None, "Zürich: °C missing", 1.25, (0.5, 0.75), 812, 9, ({"prompt": "Hi", "response": "São", "calls": []},)
)


def case(*solved: bool | None) -> CaseOutcome:
    return CaseOutcome("a-case", ("t",), 1.0, tuple(RunOutcome(one, True) for one in solved))


@pytest.mark.parametrize(
    ("runs", "solved", "flaky", "rate"),
    [
        ((True,), True, False, 1.0),
        ((False,), False, False, 0.0),
        ((True, True, True), True, False, 1.0),
        ((True, False, True), False, True, 2 / 3),
        ((True, None, False), False, True, 0.5),
        ((True, None), None, False, 1.0),
        ((False, None), False, False, 0.0),
        ((None,), None, False, None),
        ((), None, False, None),
    ],
)
def test_a_case_is_solved_only_if_every_run_solved_it(
    runs: tuple[bool | None, ...], solved: bool | None, flaky: bool, rate: float | None
) -> None:
    assert (case(*runs).solved, case(*runs).flaky, case(*runs).pass_rate) == (solved, flaky, rate)


def test_outcomes_survive_json_unchanged() -> None:
    whole = CaseOutcome("weather-zürich", ("weather", "non-ascii"), 2.0, (RUN, RunOutcome(None, None, "no answer")))

    assert CaseOutcome.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_reasons_are_told_once_and_tokens_summed() -> None:
    whole = CaseOutcome("a-case", (), 1.0, (RUN, RUN, RunOutcome(True, True, "", 0.5, (), 8, 1)))

    assert (whole.reason, whole.tokens, whole.seconds) == ("Zürich: °C missing", (1632, 19), 1.0)
