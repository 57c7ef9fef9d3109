"""A wait for a model on Ray names cause and remedy: on a real KubeRay, a real Ray and a real Redis."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from genai_pipeline.core.errors import NotReady
from genai_pipeline.k8s.render import render_engine, render_namespace
from tests.cluster.failing.cases import Outcome
from tests.cluster.failing.ray import RayCase, before_ray_starts, on_a_running_ray, with_serve
from tests.cluster.lane import Lane, release
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.objects import apply
from tests.cluster.on_ray import STARTS_S, on_ray, redis
from tests.cluster.switching import lane_in

pytestmark = [pytest.mark.needs("pods", "kuberay"), pytest.mark.nightly]

RAY = on_ray(RAY_SERVE_SLOW_STARTUP_WARNING_S="2", RAY_SERVE_SLOW_STARTUP_WARNING_PERIOD_S="2")
A = release("a", RAY)
NAMED_S, LATE_S = 120, 40
"""The deadlines of waits that are to end before it, and of those that are to last until it."""
BEFORE = [case.name for case in before_ray_starts("")]
RUNNING = [case.name for case in on_a_running_ray()]


@pytest.fixture(scope="module")
def before(real, tmp_path_factory) -> Iterator[Mapping[str, tuple[RayCase, Outcome]]]:
    with redis(password="right") as locked, ThreadPoolExecutor(len(BEFORE)) as threads:
        cases = before_ray_starts(locked)
        spaces = {case.name: f"test-{case.name}-{uuid.uuid4().hex[:8]}" for case in cases}
        folder = tmp_path_factory.mktemp("bucket")
        outcomes = threads.map(lambda case: _outcome(Lane(real.kubeconfig, spaces[case.name], folder), case), cases)
        yield {case.name: (case, outcome) for case, outcome in zip(cases, outcomes, strict=True)}


def _outcome(lane: Lane, case: RayCase) -> Outcome:
    create_namespace(lane.kubeconfig, lane.namespace)
    try:
        if case.name == "quota":
            apply(lane.kubeconfig, [quota(lane.namespace)])
        lane.cluster.apply(render_namespace(lane.profile))
        service = copy.deepcopy(render_engine(RAY, A, lane.profile)[0])
        case.change(service)
        apply(lane.kubeconfig, [service])
        return waited(lane, service["metadata"]["name"], NAMED_S if case.ends else LATE_S)
    finally:
        delete_namespace(lane.kubeconfig, lane.namespace)


def quota(namespace: str) -> dict[str, Any]:
    metadata = {"name": "none", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}


def waited(lane: Lane, name: str, deadline_s: float) -> Outcome:
    try:
        lane.cluster.wait_ready(name, deadline_s, kind="RayService")
    except NotReady as error:
        return Outcome(str(error))
    return Outcome("")


def judge(case: RayCase, outcome: Outcome) -> None:
    for part in case.says:
        assert part in outcome.text
    assert outcome.ended_as(case.ends)


@pytest.mark.parametrize("name", BEFORE)
def test_what_keeps_ray_from_starting_is_named(before, name):
    judge(*before[name])


@pytest.fixture(scope="module")
def running(real) -> Iterator[Mapping[str, tuple[RayCase, Outcome]]]:
    with lane_in(real, f"test-serve-{uuid.uuid4().hex[:8]}", specs=(RAY,)) as lane:
        lane.roll_out(A)
        service = render_engine(RAY, A, lane.profile)[0]
        yield {case.name: (case, _changed(lane, service, case)) for case in on_a_running_ray()}


def _changed(lane: Lane, service: dict[str, Any], case: RayCase) -> Outcome:
    """Serve with one thing wrong in its configuration; then as it was."""
    lane.cluster.apply([with_serve(copy.deepcopy(service), case.change)])
    found = until(lambda: waited(lane, A.object_name, 20).text, f"a word about {case.name}", STARTS_S)
    lane.cluster.apply([service])
    until(lambda: not waited(lane, A.object_name, STARTS_S).text, "Serve as it was", STARTS_S)
    return Outcome(found)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", RUNNING)
def test_what_keeps_serve_from_serving_is_named(running, name):
    judge(*running[name])
