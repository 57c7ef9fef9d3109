"""What a look sees: as a user, through the metrics, through the cluster. Whatever fails is part of it."""

import math
from dataclasses import replace

import pytest

from genai_pipeline.core.errors import ClusterUnavailable, EngineBroken, EngineUnavailable, Refused
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Asked
from genai_pipeline.gateways.inference.abc import Completion, Embedding, Score
from genai_pipeline.rollout.watch.reading import Pods, Reader
from tests.fakes.world import FakeInference
from tests.unit.rollout.test_cutover import V1, V2, Bench


@pytest.fixture
def bench():
    bench = Bench()
    bench.candidate(V1)
    bench.go(V1)
    bench.reader = Reader(bench.world.gateways(), bench.candidates, bench.traffic)
    return bench


def pod(name, reason="", restarts=0):
    state = {"waiting": {"reason": reason}} if reason else {"running": {}}
    labels = {"app.kubernetes.io/name": "tiny", "app.kubernetes.io/component": "engine"}
    labels |= {"genai-pipeline/release": V1.id}
    statuses = [{"state": state, "restartCount": restarts}]
    return {"metadata": {"name": name, "labels": labels}, "status": {"containerStatuses": statuses}}


def answers(monkeypatch, result):
    def chat(*args, **kwargs):
        if isinstance(result, Exception):
            raise result
        return result if isinstance(result, Completion) else Completion("tiny", result, (), "stop", 1, 1)

    monkeypatch.setattr(FakeInference, "chat", chat)


def test_a_release_that_is_well_answers_has_metrics_and_pods(bench):
    asked = []
    reading = bench.reader.read(V1, lambda url: asked.append(url) or Asked("weather", True, "right"))

    assert reading.canary.kind == "answered"
    assert reading.metrics is not None
    assert reading.pods == Pods(1, 0)
    assert asked == ["http://tiny-agent"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (EngineBroken("POST answered 500: dead."), "broken"),
        (EngineUnavailable("POST answered 503: full."), "silent"),
        (EngineUnavailable("POST did not answer within 10 s."), "silent"),
        (Refused("POST answered 404: no such model."), "elsewhere"),
        ("  ", "broken"),
        (Completion("tiny", "", (), "length", 1, 8, reasoning="Let me think"), "answered"),
        (Completion("tiny", "", (), "length", 1, 0), "broken"),
        ("Hello!", "answered"),
    ],
)
def test_an_answer_is_distinguished_from_an_error_and_from_silence(bench, monkeypatch, answer, kind):
    answers(monkeypatch, answer)

    assert bench.reader.read(V1).canary.kind == kind


@pytest.mark.parametrize(
    ("task", "answer", "kind"),
    [
        (Task.EMBED, Embedding("tiny", (0.1, 0.2), 5), "answered"),
        (Task.EMBED, Embedding("tiny", (0.0, 0.0), 5), "broken"),
        (Task.SCORE, Score("tiny", 0.0, 5), "answered"),
        (Task.SCORE, Score("tiny", math.nan, 5), "broken"),
        (Task.EMBED, Refused("POST answered 404: no such endpoint."), "elsewhere"),
    ],
)
def test_a_release_is_asked_what_its_task_answers(bench, monkeypatch, task, answer, kind):
    def ask(self, asked, *args, **kwargs):
        assert asked is task
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(FakeInference, "ask", ask)

    assert bench.reader.read(replace(V1, task=task)).canary.kind == kind


def test_another_release_at_the_stable_address_says_nothing_of_the_one_watched(bench):
    bench.candidate(V2)

    reading = bench.reader.read(V2)

    assert reading.canary.kind == "elsewhere"
    assert V1.id in reading.canary.said


def test_the_agent_is_not_asked_while_the_engine_fails(bench, monkeypatch):
    answers(monkeypatch, EngineBroken("500"))

    assert bench.reader.read(V1, lambda url: pytest.fail("asked")).asked is None


def test_a_crash_loop_is_named_with_all_restarts(bench):
    for found in (pod("a", "CrashLoopBackOff", 3), pod("b", restarts=1)):
        bench.world.cluster.objects[("Pod", found["metadata"]["name"])] = found

    assert bench.reader.read(V1).pods == Pods(1, 4, "a")


def test_a_silent_cluster_and_metrics_that_cannot_be_read_are_part_of_the_reading(bench, monkeypatch):
    def down(*args):
        raise ClusterUnavailable("The API did not answer.")

    monkeypatch.setattr(bench.world.cluster, "list", down)
    monkeypatch.setattr(bench.world.cluster, "get", down)
    monkeypatch.setattr(bench.world.cluster, "endpoint", down)

    reading = bench.reader.read(V1)

    assert (reading.pods, reading.metrics, reading.canary.kind) == (None, None, "silent")
    assert "did not answer" in reading.metrics_error
