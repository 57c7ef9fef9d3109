import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.inference.abc import DrainStatus
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.rollout.switch.drain import Drained, drain


class Replicas:
    """Answers from a list, one a question: a DrainStatus, None, or nobody there; the last one again for ever."""

    base_url = "http://engine"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def leave(self):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "gone":
            raise EngineUnavailable("nobody is there.")
        return answer


class Readings:
    def __init__(self, *running):
        self._running = iter(running)

    def read(self, base_url):
        running = next(self._running)
        if running is None:
            raise EngineUnavailable("gone")
        return EngineMetrics(0, running, 0, 0, 0, 0, {})


def pod(name="a", drained=True, *running):
    return DrainStatus(name, drained, running)


def drained(inference, replicas=1, metrics=None, deadline_s=2.0):
    return drain(inference, metrics or Readings(), replicas, deadline_s, sleep=lambda _: None)


def test_a_replica_that_says_it_is_drained_twice_is_drained():
    replicas = Replicas(pod(), pod())

    assert drained(replicas) == Drained()
    assert replicas.asked == 2


def test_the_drain_waits_for_a_replica_that_still_has_kept_connections():
    replicas = Replicas(*[pod("a", False)] * 10, pod())

    assert drained(replicas) == Drained()
    assert replicas.asked >= 11


def test_every_replica_must_be_drained_and_not_only_those_that_answered_first():
    ended = drained(Replicas(pod("a")), replicas=2)

    assert ended.reason == "only 1 of 2 replicas answered"
    assert drained(Replicas(*[pod("a")] * 8, pod("b")), replicas=2) == Drained()


def test_what_runs_at_the_deadline_is_counted_and_named():
    ended = drained(Replicas(pod("a", False, "/v1/completions r1 after 31 s", "/v1/completions after 2 s")))

    assert ended.outlived == ("/v1/completions r1 after 31 s on a", "/v1/completions after 2 s on a")
    assert "a still has requests" in ended.reason


def test_an_engine_that_no_one_answers_for_has_nothing_to_drain():
    assert drained(Replicas("gone")) == Drained()


def test_a_busy_engine_that_stops_answering_is_not_taken_for_drained():
    ended = drained(Replicas(pod("a", False, "/v1/completions after 3 s"), "gone"))

    assert "nobody is there" in ended.reason
    assert ended.outlived


@pytest.mark.parametrize(
    ("running", "outlived"),
    [((3, 1, 0, 0), ()), ((None, None), ()), ((1,) * 9, ("1 running, 0 waiting",)), ((0, 1, 0, 1, 0, 1, 0, 1), None)],
)
def test_an_engine_that_cannot_be_asked_is_judged_by_its_metrics(running, outlived):
    ended = drained(Replicas(None), metrics=Readings(*running))

    assert bool(ended.reason) is (outlived != ())
    if outlived is not None:
        assert ended.outlived == outlived
