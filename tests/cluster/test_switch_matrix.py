"""Every way that traffic may go, and every moment at which the pipeline may be killed: no client notices any of them.

A lane per moment, all at once: four models, eight engines, four sets of clients. The last switch of a path is the
one that is killed; then it is run again.
"""

from __future__ import annotations

import re
import signal
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from genai_pipeline.core.release import Release
from genai_pipeline.rollout.switch import candidates, cutover, traffic
from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.load import Load, Seen
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.objects import api

PATHS = {"A→B": "B", "A→B→A": "BA", "A→B→A→B": "BAB", "A→B→A→C": "BAC"}
ABORTS = {
    "before": "rollout.candidate_applied",
    "early": "rollout.selector_moved",
    "middle": "rollout.pointer_written",
    "late": "rollout.drained",
}
KILLED_ELSEWHERE = {"rollout.agent_applied", "rollout.stopping"}
RATE = 170
ENOUGH = 2000

pytestmark = [pytest.mark.needs("pods")]


@dataclass
class Case:
    """What one path with one abort came to."""

    seen: Seen
    killed: int | str
    rerun: int | str
    state: dict[str, Any]
    wanted: dict[str, Any]


@contextmanager
def lane_in(cluster: Any, namespace: str) -> Iterator[Lane]:
    create_namespace(cluster.kubeconfig, namespace)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Lane(cluster.kubeconfig, namespace, Path(folder))
    finally:
        delete_namespace(cluster.kubeconfig, namespace)


def run_lane(lane: Lane, crash_at: str, cases: dict[str, Future[Case]]) -> None:
    """All paths one after the other; whatever is live at the start of a path is its A."""
    a, b, c = (release(letter) for letter in "abc")
    lane.roll_out(a)
    with Load(lane.url, MODEL, RATE) as load:
        for path, steps in PATHS.items():
            case = run_case(lane, load, [{"A": a, "B": b, "C": c}[step] for step in "A" + steps], crash_at)
            cases[path].set_result(case)
            ended = {"A": a, "B": b, "C": c}[steps[-1]]
            a, b, c = (ended, *(r for r in (a, b, c) if r is not ended))


def run_case(lane: Lane, load: Load, through: list[Release], crash_at: str) -> Case:
    """Roll out one after the other; the last is killed and run again."""
    load.take()
    *undisturbed, old, new = through
    for step in [*undisturbed, old][1:]:
        ended = lane.roll_out_elsewhere(step)
        assert ended == 0, f"undisturbed step to {step.id}: {ended} · {load.look().causes}"
    killed, rerun = lane.roll_out_elsewhere(new, crash_at), lane.roll_out_elsewhere(new)
    until(lambda: load.look().sent.total() >= ENOUGH, f"{ENOUGH} requests")
    return Case(load.take(), killed, rerun, lane.state(), lane.wanted(new, old))


@pytest.fixture(scope="module")
def matrix(real: Any) -> Iterator[dict[str, dict[str, Future[Case]]]]:
    """Per abort and path what it will have come to; what breaks a lane is told by its cases from there on."""
    cases = {abort: {path: Future[Case]() for path in PATHS} for abort in ABORTS}
    with ThreadPoolExecutor(len(ABORTS)) as at_once:
        for abort, crash_at in ABORTS.items():
            at_once.submit(_run, real, abort, crash_at, cases[abort])
        yield cases


def _run(cluster: Any, name: str, crash_at: str, cases: dict[str, Future[Case]]) -> None:
    try:
        with lane_in(cluster, f"test-{name}-{uuid.uuid4().hex[:8]}") as lane:
            run_lane(lane, crash_at, cases)
    except BaseException as error:
        for case in cases.values():
            if not case.done():
                case.set_exception(error)
        raise


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("abort", ABORTS)
def test_no_request_fails_and_a_rerun_converges(matrix, record_property, path, abort):
    case = matrix[abort][path].result()
    record_property("requests", case.seen.sent.total())

    assert case.killed == -signal.SIGKILL
    assert case.rerun == 0
    assert case.seen.causes == {}
    assert case.seen.sent.total() >= ENOUGH
    assert min(case.seen.sent[kind] for kind in ("new connection", "keep-alive", "stream")) > 0
    assert case.state == case.wanted


def test_the_aborts_are_all_the_states_that_a_cut_over_has():
    sources = [Path(module.__file__).read_text() for module in (candidates, cutover, traffic)]

    states = set(re.findall(r'crash_point\("([\w.]+)"\)', "".join(sources)))

    assert states == {*ABORTS.values(), *KILLED_ELSEWHERE}


def test_without_a_drain_the_same_clients_see_requests_fail(real, fresh_namespace, tmp_path):
    lane = Lane(real.kubeconfig, fresh_namespace(real), tmp_path)
    old, new = release("a"), release("b")
    lane.roll_out(old)
    without = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "engine", "lifecycle": None}]}
    with api(real.kubeconfig) as connection:
        body = {"spec": {"template": {"spec": without}}}
        client.AppsV1Api(connection).patch_namespaced_deployment(old.object_name, lane.namespace, body)
    lane.cluster.wait_ready(old.object_name, 120)
    until(lambda: len(lane.cluster.list("Pod")) == 1, "the end of the pod that drains")
    lane.candidates.start_engine(SPEC, new, lambda _: None)
    with Load(lane.url, MODEL, RATE) as load:
        until(lambda: load.look().sent.total() >= RATE, "traffic")
        lane.traffic.move(new)
        lane.cluster.scale(old.object_name, 0)
        until(lambda: load.look().failed.total() > 0, "a failed request", 20)
        seen = load.take()

    assert seen.failed["keep-alive"] + seen.failed["stream"] > 0
