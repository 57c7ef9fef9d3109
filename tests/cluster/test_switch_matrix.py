"""Every way that traffic may go, and every moment at which the pipeline may be killed: no client notices any of them.

A lane per moment, all at once: four models, eight engines, four sets of clients. The last switch of a path is the
one that is killed; then it is run again.
"""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from genai_pipeline.rollout import candidate, cutover, traffic
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
    killed: int
    rerun: int
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


def run_lane(lane: Lane, crash_at: str) -> dict[str, Case]:
    """All paths one after the other; whatever is live at the start of a path is its A."""
    letters = {"A": "a", "B": "b", "C": "c"}
    lane.roll_out(release("a"))
    cases: dict[str, Case] = {}
    with Load(lane.url, MODEL, RATE) as load:
        for path, steps in PATHS.items():
            load.take()
            before = letters["A"]
            for step in steps[:-1]:
                assert lane.roll_out_elsewhere(release(letters[step])) == 0
                before = letters[step]
            new, old = release(letters[steps[-1]]), release(before)
            killed, rerun = lane.roll_out_elsewhere(new, crash_at), lane.roll_out_elsewhere(new)
            until(lambda: load.look().sent.total() >= ENOUGH, f"{ENOUGH} requests")
            cases[path] = Case(load.take(), killed, rerun, lane.state(), lane.wanted(new, old))
            last = letters[steps[-1]]
            letters = dict(zip("ABC", (last, *(x for x in "abc" if x != last)), strict=True))
    return cases


@pytest.fixture(scope="module")
def matrix(real: Any) -> Iterator[dict[str, dict[str, Case]]]:
    with ThreadPoolExecutor(len(ABORTS)) as at_once:
        runs = {name: at_once.submit(_run, real, name, crash_at) for name, crash_at in ABORTS.items()}
        yield {name: run.result() for name, run in runs.items()}


def _run(cluster: Any, name: str, crash_at: str) -> dict[str, Case]:
    with lane_in(cluster, f"test-matrix-{name}") as lane:
        return run_lane(lane, crash_at)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("abort", ABORTS)
def test_no_request_fails_and_a_rerun_converges(matrix, record_property, path, abort):
    case = matrix[abort][path]
    record_property("requests", case.seen.sent.total())

    assert case.killed == -signal.SIGKILL
    assert case.rerun == 0
    assert case.seen.causes == {}
    assert case.seen.sent.total() >= ENOUGH
    assert min(case.seen.sent[kind] for kind in ("new connection", "keep-alive", "stream")) > 0
    assert case.state == case.wanted


def test_the_aborts_are_all_the_states_that_a_cut_over_has():
    sources = [Path(module.__file__).read_text() for module in (candidate, cutover, traffic)]

    states = set(re.findall(r'crash_point\("([\w.]+)"\)', "".join(sources)))

    assert states == {*ABORTS.values(), *KILLED_ELSEWHERE}


def test_without_a_drain_the_same_clients_see_requests_fail(real, fresh_namespace, tmp_path):
    lane = Lane(real.kubeconfig, fresh_namespace(real), tmp_path)
    old, new = release("a"), release("b")
    lane.roll_out(old)
    with Load(lane.url, MODEL, RATE) as load:
        lane.candidates.start_engine(SPEC, new, lambda _: None)
        until(lambda: load.look().sent.total() >= RATE, "traffic")

        lane.traffic.move(new)
        lane.cluster.scale(old.object_name, 0)
        with api(real.kubeconfig) as connection:
            core = client.CoreV1Api(connection)
            pods = f"genai-pipeline/release={old.id}"
            core.delete_collection_namespaced_pod(lane.namespace, label_selector=pods, grace_period_seconds=0)
        until(lambda: load.look().failed.total() > 0, "a failed request", 20)
        seen = load.take()

    assert seen.failed["keep-alive"] + seen.failed["stream"] > 0
