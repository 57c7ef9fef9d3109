"""A load test from a pod beside a real engine: its report, and what is left when the pod or the run is killed."""

import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from genai_pipeline.core.verdict import Outcome
from genai_pipeline.loadtest.load_test import ServingReport
from tests.cluster.identities import kubectl
from tests.cluster.loaded_engine import POD, LoadedEngine, loaded_engine
from tests.cluster.machine.waiting import until

pytestmark = [pytest.mark.needs("pods")]
NOT_APPLICABLE = ("gpu_health", "cost")


@pytest.fixture(scope="module")
def engine(real: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedEngine]:
    with loaded_engine(real, f"test-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("load")) as found:
        yield found


def outcomes(report: ServingReport) -> dict[str, Outcome]:
    return {v.check: v.outcome for v in report.verdicts if v.check not in NOT_APPLICABLE}


def test_outside_the_cluster_a_pod_sends_the_load_and_the_engine_counted_the_same(engine: LoadedEngine):
    said: list[str] = []

    report = engine.load(said.append)

    assert set(outcomes(report).values()) == {Outcome.PASSED}, report.verdicts
    assert outcomes(report)["engine_agrees"] is Outcome.PASSED
    assert f"The load comes from pod {POD}." in said
    assert sum("at a time" in line for line in said) == 3
    until(lambda: not engine.pods(), "the end of the pod", 30)


def test_a_pod_that_is_deleted_in_the_middle_proves_nothing(engine: LoadedEngine):
    def delete(text: str) -> None:
        if "4 at a time" in text:
            kubectl(engine.admin, "delete", "pod", POD, "-n", engine.namespace, "--wait=false")

    report = engine.load(delete)

    assert set(outcomes(report).values()) == {Outcome.INCONCLUSIVE}
    assert "ended before" in report.verdicts[0].summary or "gone before" in report.verdicts[0].summary
    until(lambda: not engine.pods(), "the end of the pod", 30)


def test_a_cancelled_run_takes_its_pod_with_it(engine: LoadedEngine):
    run = engine.load_elsewhere()
    until(lambda: engine.pods() == [f"{POD}=Running"], "the pod", 120)

    os.kill(run.pid, signal.SIGINT)

    run.join(60)
    assert run.exitcode
    until(lambda: not engine.pods(), "the end of the pod", 30)


def test_the_next_load_removes_what_a_killed_run_left_over(engine: LoadedEngine):
    run = engine.load_elsewhere()
    until(lambda: engine.pods() == [f"{POD}=Running"], "the pod", 120)
    run.kill()
    run.join(60)
    assert engine.pods() == [f"{POD}=Running"]

    report = engine.load()

    assert set(outcomes(report).values()) == {Outcome.PASSED}, report.verdicts
