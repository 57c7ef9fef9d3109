import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.rollout.drain import drain
from genai_pipeline.rollout.settling import why_unsettled


def ask(answers, in_a_row=2, deadline_s=1.0):
    replies = iter(answers)
    return why_unsettled(lambda: next(replies), in_a_row, 0.1, deadline_s, lambda _: None)


def test_good_answers_in_a_row_settle_it():
    assert ask(["not yet", "", ""]) == ""


def test_a_bad_answer_in_between_starts_the_count_anew():
    assert ask(["", "no", "", "no", "", "no", "", "no", "", "no", ""]) != ""


def test_at_the_deadline_the_last_reason_is_given():
    assert ask(["no"] * 9 + ["still no"] + ["never asked"] * 5, deadline_s=0.95) == "still no"


def test_an_answer_that_takes_long_counts_against_the_deadline(monkeypatch):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr("genai_pipeline.rollout.settling.time.monotonic", lambda: next(clock))

    assert ask(["hangs", "asked too often"], deadline_s=15) == "hangs"


class Readings:
    def __init__(self, *running):
        self._running = iter(running)

    def read(self, base_url):
        running = next(self._running)
        if running is None:
            raise EngineUnavailable("gone")
        return EngineMetrics(0, running, 0, 0, 0, 0, {})


@pytest.mark.parametrize(
    ("running", "drained"),
    [((3, 1, 0, 0), True), ((None, None), True), ((1, 1, 1, 1, 1), False), ((0, 1, 0, 1), False)],
)
def test_an_engine_is_drained_when_it_is_quiet_or_gone(running, drained):
    assert drain(Readings(*running), "http://engine", deadline_s=1, sleep=lambda _: None) is drained
