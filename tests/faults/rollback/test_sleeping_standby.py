"""A last good release that sleeps, as real processes behind the middlewares of a pod, under traffic."""

import httpx
import pytest

from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.loadtest.probe import ContinuousProbe
from tests.fakes.demo_engines import wait_for
from tests.faults.rollback.conftest import MODEL, RATE_PER_S, Stage

SLEEPS = MODEL.replace('"test/engine:1"', '"test/sleeping-engine:1"').replace(
    "serving:\n", "serving:\n  standby: sleep\n  gpu: {{}}\n  resources: {{memory_gib: 1}}\n"
)


class SleepingStage(Stage):
    model = SLEEPS


class ForgetfulStage(Stage):
    """Its engines answer something else once they have slept."""

    model = SLEEPS.replace("env: {{", "env: {{FAKE_SLEEP: wrong, ")


@pytest.fixture
def stage_of(cluster_daemon):
    cluster = LocalCluster(cluster_daemon.url, cluster_daemon.world().cluster.namespace)
    yield lambda kind: kind(cluster, 1.0)
    for kind in ("Service", "Deployment"):
        for found in cluster.list(kind):
            cluster.delete(kind, found["metadata"]["name"])


def go_back(stage):
    """Roll back under traffic; returns what `begin` did, and the requests that failed."""
    with ContinuousProbe(stage.engines.traffic().url("tiny"), "tiny", rate_per_s=RATE_PER_S) as probe:
        assert probe.see(10, 20)
        begun = stage.engines.roll_back().begin("tiny", "it misbehaves", "somebody")
        stage.engines.roll_back().finish("tiny", lambda _: None)
        assert probe.see(20, 20)
        return begun, probe.failed


def test_it_sleeps_out_of_reach_of_users_and_a_rollback_wakes_it_without_a_failed_request(stage_of):
    stage = stage_of(SleepingStage)
    good, candidates = stage.good, stage.engines.candidates()
    own = candidates.engine_url(good)
    stage.promote()

    assert candidates.is_asleep(good)
    wait_for(lambda: not candidates.is_up(good), 20)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{own}/v1/models", trust_env=False)
    pods = stage.engines.gateways.cluster.list("Pod", {"genai-pipeline/release": good.id})
    engine = next(pod["status"]["podIP"] for pod in pods if "agent" not in pod["metadata"]["name"])
    straight = httpx.post(f"http://{engine}:8000/v1/completions", json={"model": "tiny"}, trust_env=False)
    assert straight.status_code == 503

    begun, failed = go_back(stage)

    assert begun.moved
    assert failed == 0
    assert candidates.is_warm(good)
    assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in pods)


def test_one_that_wakes_with_other_words_starts_from_zero_and_no_user_reads_them(stage_of):
    stage = stage_of(ForgetfulStage)
    good = stage.good
    stage.promote()

    begun, failed = go_back(stage)

    assert not begun.moved
    assert failed == 0
    assert stage.engines.candidates().is_warm(good)
    history = [event.what for event in stage.engines.records().require("tiny", good.id).history]
    assert any("wrong text" in what for what in history)
