"""Dagster in the cluster loses pods while it rolls out: runs, daemon, code server, the API server, an upgrade.

One rollout with three runs killed, and one with all around its run killed, while clients ask the live release.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterRunStatus

from genai_pipeline.core.record import Phase
from tests.cluster.dagster_in_cluster.installation import FULL_NAME, NAME, helm_of, install_dagster
from tests.cluster.dagster_in_cluster.model import quick_model
from tests.cluster.dagster_in_cluster.runs import ENDED_BADLY, Runs, runs_of
from tests.cluster.helm import WAIT_S
from tests.cluster.life.rollouts import Ended, wait_until_ended
from tests.cluster.life.surroundings import Installation, installed
from tests.cluster.life.weather import MODEL, not_passed, revision
from tests.cluster.load import Load, Seen
from tests.cluster.losses import evict, kill, lose
from tests.cluster.machine import programs
from tests.cluster.machine.cluster import until
from tests.unit.k8s.pipeline_chart import CHART

pytestmark = [pytest.mark.needs("pods"), pytest.mark.timeout(2400), pytest.mark.nightly]

RATE = 20
ROLLOUT, PROMOTION = f"rollout_{MODEL}", f"promote_{MODEL}"
OK = DagsterRunStatus.SUCCESS


@dataclass
class Told:
    """How one release came to be live: its runs in their order, and what clients saw meanwhile."""

    ended: Ended
    seen: Seen
    rollouts: list[DagsterRunStatus] = field(default_factory=list)
    promotions: list[DagsterRunStatus] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def installation(real, tmp_path_factory) -> Iterator[Installation]:
    with installed(real, tmp_path_factory, "dagster", quick_model()) as installation:
        yield installation


@pytest.fixture(scope="module")
def values(installation) -> dict[str, Any]:
    """The engine needs next to nothing here, so runs may have what a busy machine would not leave them."""
    return install_dagster(installation, runs={"resources": {"requests": {"cpu": "1", "memory": "64Mi"}}})


@pytest.fixture(scope="module")
def runs(installation, values) -> Iterator[Runs]:
    with runs_of(installation) as runs:
        yield runs


@pytest.fixture(scope="module")
def load(installation, runs) -> Iterator[Load]:
    """Clients of v1, which nothing disturbed."""
    installation.publish("v1")
    v1 = wait_until_ended(installation, MODEL, revision("v1"))
    assert v1.record.phase is Phase.LIVE, v1.why
    url = installation.engines.traffic().url(MODEL)
    assert url
    with Load(url, MODEL, RATE) as load:
        yield load


@pytest.fixture(scope="module")
def killed_runs(installation, runs, load) -> Told:
    """v2 goes live although the node of its run is drained, lost, and out of memory."""
    installation.publish("v2")
    release = until(lambda: _release_of(installation, "v2"), "the record of v2", 120)
    _drain_while_staging(installation, runs, release)
    _lose_while_the_candidate_starts(installation, runs, release)
    _kill_at_the_cut_over(installation, runs, release)
    return _told(installation, runs, load, "v2")


@pytest.fixture(scope="module")
def killed_around(installation, runs, load, killed_runs, values) -> Told:
    """v3 goes live although all around its run ends: code server, daemon, API server; and helm upgrades the rest."""
    kubeconfig = installation.cluster.kubeconfig
    installation.publish("v3")
    release = until(lambda: _release_of(installation, "v3"), "the record of v3", 120)
    runs.started(release, ROLLOUT)
    for part in ("code-server", "daemon"):
        for pod in _parts(installation, part):
            lose(kubeconfig, pod)
    programs.restart(installation.cluster.folder, "kube-apiserver")
    until(installation.cluster.answers, "the API server")
    words = ["upgrade", NAME, str(CHART), "--wait", f"--timeout={WAIT_S}s"]
    upgraded = helm_of(installation, *words, values=values | {"podAnnotations": {"upgraded": "yes"}})
    assert upgraded.returncode == 0, upgraded.stderr
    return _told(installation, runs, load, "v3")


def _drain_while_staging(installation: Installation, runs: Runs, release: str) -> None:
    """The hub stands still meanwhile, so that the run is in the middle of it."""
    run = runs.started(release, ROLLOUT)
    runs.wait_for_step(run, DagsterEventType.STEP_SUCCESS, "__snapshot")
    installation.processes.signal("hub", signal.SIGSTOP)
    try:
        runs.wait_for_step(run, DagsterEventType.STEP_START, "__staged_model")
        evict(installation.cluster.kubeconfig, runs.pod(run))
        assert runs.ended(run) in ENDED_BADLY
    finally:
        installation.processes.signal("hub", signal.SIGCONT)


def _lose_while_the_candidate_starts(installation: Installation, runs: Runs, release: str) -> None:
    run = runs.started(release, ROLLOUT, number=2)
    runs.wait_for_step(run, DagsterEventType.STEP_START, "__candidate")
    lose(installation.cluster.kubeconfig, runs.pod(run))
    assert runs.ended(run) in ENDED_BADLY


def _kill_at_the_cut_over(installation: Installation, runs: Runs, release: str) -> None:
    assert runs.ended(runs.started(release, ROLLOUT, number=3)) is OK
    run = runs.requested(release, PROMOTION)
    pod = runs.pod(run)
    cluster = installation.engines.gateways.cluster
    service = lambda: (cluster.get("Service", MODEL) or {})["spec"]["selector"]["genai-pipeline/release"]  # noqa: E731
    until(lambda: service() == release, "the move of the selector", 180)
    kill(pod)
    assert runs.ended(run) in ENDED_BADLY


def _release_of(installation: Installation, tag: str) -> str:
    found = [r for r in installation.engines.records().all(MODEL) if r.revision == revision(tag)]
    return found[0].release if found else ""


def _parts(installation: Installation, part: str) -> list[dict[str, Any]]:
    found = installation.engines.gateways.cluster.list("Pod", {"genai-pipeline/part": part})
    assert found, f"{FULL_NAME} has no {part}"
    return found


def _told(installation: Installation, runs: Runs, load: Load, tag: str) -> Told:
    ended = wait_until_ended(installation, MODEL, revision(tag))
    release = ended.record.release
    of = {job: [runs.ended(run) for run in runs.of(release, job)] for job in (ROLLOUT, PROMOTION)}
    made = [job["metadata"]["labels"]["dagster/run-id"] for job in runs.jobs()]
    jobs = {run.run_id: made.count(run.run_id) for run in runs.of(release)}
    return Told(ended, load.take(), of[ROLLOUT], of[PROMOTION], jobs)


def test_a_run_whose_pod_is_gone_has_failed_and_is_tried_again(killed_runs):
    *lost, last = killed_runs.rollouts

    assert len(lost) == 2
    assert set(lost) <= set(ENDED_BADLY)
    assert last is OK
    assert killed_runs.ended.record.attempt == 3


def test_a_promotion_killed_at_the_cut_over_is_finished_by_the_next(killed_runs):
    assert killed_runs.ended.record.phase is Phase.LIVE, killed_runs.ended.why
    assert not_passed(killed_runs.ended.record) == {}
    assert len(killed_runs.promotions) == 2
    assert killed_runs.promotions[-1] is OK


def test_all_around_a_run_may_end_and_it_goes_on(killed_around):
    assert killed_around.ended.record.phase is Phase.LIVE, killed_around.ended.why
    assert not_passed(killed_around.ended.record) == {}
    assert (killed_around.rollouts, killed_around.promotions) == ([OK], [OK])


@pytest.mark.parametrize("told", ["killed_runs", "killed_around"])
def test_no_run_is_started_twice(request, told):
    jobs = request.getfixturevalue(told).jobs

    assert jobs
    assert set(jobs.values()) == {1}


@pytest.mark.parametrize("told", ["killed_runs", "killed_around"])
def test_no_request_failed_meanwhile(request, told):
    seen = request.getfixturevalue(told).seen

    assert seen.causes == {}
    assert seen.sent.total() > 100
