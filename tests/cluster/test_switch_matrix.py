"""Every way that traffic may go, and every moment at which the pipeline may be killed: no client notices any of them.

A lane per moment, all at once: four models, eight engines, four sets of clients. The last switch of a path is the
one that is killed; then it is run again. A path that is another one and a step more goes on where that one ended.
"""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from genai_pipeline.rollout.switch import candidates, cutover, traffic, workloads
from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.load import Load
from tests.cluster.machine.cluster import until
from tests.cluster.machine.objects import api
from tests.cluster.switching import ABORTS, Case, lane_in, run_case
from tests.fakes.tiers import nightly_of

PATHS = {"A→B": "B", "A→B→A": "BA", "A→B→A→B": "BAB", "A→B→A→C": "BAC"}
BY_DAY = ("A→B", "A→B→A")
"""The longer ways cost a third rollout each, and belong to the night."""
KILLED_ELSEWHERE = {"rollout.agent_applied", "rollout.stopping", "rollout.started_again", "traffic.moved"}
SCALED = {"rollout.replicas_held", "rollout.scaler_applied", "rollout.scaler_removed"}
"""A release of one replica has no autoscaler; `tests/unit/rollout/test_scaled_releases.py` kills at these."""
RATE = 100
ENOUGH = 1000

pytestmark = [pytest.mark.needs("pods")]


def run_lane(lane: Lane, crash_at: str, cases: dict[str, Future[Case]]) -> None:
    """All paths one after the other; whatever is live at the start of a whole one is its A."""
    named, gone = {letter: release(letter.lower()) for letter in "ABC"}, ""
    lane.roll_out(named["A"])
    with Load(lane.url, MODEL, RATE) as load:
        for path, case in cases.items():
            *before, last = PATHS[path]
            if gone and "".join(before) != gone:
                rest = [r for letter, r in named.items() if letter != gone[-1]]
                named, gone = dict(zip("ABC", [named[gone[-1]], *rest], strict=True)), ""
            through = [gone[-1], last] if gone else ["A", *before, last]
            case.set_result(run_case(lane, load, [named[step] for step in through], crash_at, ENOUGH))
            gone = PATHS[path]


@pytest.fixture(scope="module")
def paths(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The paths that a selected test asks for."""
    return tuple(PATHS) if nightly_of(request) else BY_DAY


@pytest.fixture(scope="module")
def matrix(real: Any, paths: tuple[str, ...]) -> Iterator[dict[str, dict[str, Future[Case]]]]:
    """Per abort and path what it will have come to; what breaks a lane is told by its cases from there on."""
    cases = {abort: {path: Future[Case]() for path in paths} for abort in ABORTS}
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


@pytest.mark.parametrize("path", [p if p in BY_DAY else pytest.param(p, marks=pytest.mark.nightly) for p in PATHS])
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
    sources = [Path(module.__file__).read_text() for module in (candidates, cutover, traffic, workloads)]

    states = set(re.findall(r'crash_point\("([\w.]+)"\)', "".join(sources)))

    assert states == {*ABORTS.values(), *KILLED_ELSEWHERE, *SCALED}


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
