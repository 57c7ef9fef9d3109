"""The traffic of a model on Ray moved, killed and moved again, and the loss of its head: no client notices.

A real KubeRay, a real Ray and a real Redis; the fake engine stands in place of vLLM. The paths and the aborts are those
of KubeRay's own tests of upgrades.
"""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.load import Load, Seen
from tests.cluster.losses import lose
from tests.cluster.machine.cluster import until
from tests.cluster.on_ray import ENOUGH, RATE, STARTS_S, application, name_of, on_ray, pods, ready, redis
from tests.cluster.switching import ABORTS, Case, lane_in, run_case

pytestmark = [pytest.mark.needs("pods", "kuberay"), pytest.mark.timeout(1800)]

RAY = on_ray()
A, B, C = (release(letter, RAY) for letter in "abc")
VLLM = release("d")


@pytest.fixture(scope="module")
def kept_state() -> Iterator[str]:
    with redis() as address:
        yield address


@pytest.fixture(scope="module")
def lane(real, kept_state) -> Iterator[Lane]:
    with lane_in(real, f"test-ray-{uuid.uuid4().hex[:8]}", specs=(RAY,), redis=kept_state) as lane:
        lane.roll_out(A)
        yield lane


@pytest.fixture(scope="module")
def load(lane) -> Iterator[Load]:
    with Load(lane.url, MODEL, RATE) as load:
        yield load


@pytest.fixture(scope="module")
def there(lane, load) -> Case:
    return run_case(lane, load, (A, B), ABORTS["middle"], ENOUGH)


@pytest.fixture(scope="module")
def and_back(lane, load, there) -> Case:
    return run_case(lane, load, (B, A), ABORTS["late"], ENOUGH)


def judge(case: Case) -> None:
    assert case.killed == -signal.SIGKILL
    assert case.rerun == 0
    assert case.seen.causes == {}
    assert case.seen.sent.total() >= ENOUGH
    assert min(case.seen.sent[kind] for kind in ("new connection", "keep-alive", "stream")) > 0
    assert case.state == case.wanted


def test_no_request_fails_on_the_way_to_the_next_release(there, record_property):
    record_property("requests", there.seen.sent.total())

    judge(there)


def test_none_fails_on_the_way_back(and_back, record_property):
    record_property("requests", and_back.seen.sent.total())

    judge(and_back)


@pytest.fixture(scope="module")
def head_lost(lane, load, and_back) -> tuple[Any, Seen]:
    """The workers before it, and what clients saw until a new head serves."""
    before = pods(lane, A)
    (head,) = pods(lane, A, heads=True)
    load.take()
    lose(lane.kubeconfig, head)
    until(lambda: ready(lane, A, heads=True) - {name_of(head)}, "a new head", STARTS_S)
    until(lambda: application(lane, A).get("status") == "RUNNING", "Serve on the new head", STARTS_S)
    enough = load.look().sent.total() + RATE
    until(lambda: load.look().sent.total() >= enough, "traffic after it")
    return before, load.take()


def test_with_a_redis_the_workers_outlive_their_head_and_no_request_fails(lane, head_lost):
    before, seen = head_lost

    assert seen.causes == {}
    assert seen.sent.total() > RATE
    assert {pod["metadata"]["uid"] for pod in pods(lane, A)} == {pod["metadata"]["uid"] for pod in before}
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods(lane, A)] == [0]


@pytest.mark.nightly
@pytest.mark.parametrize("abort", ["early", "middle", "late"])
def test_no_request_fails_where_a_third_release_comes(real, kept_state, record_property, abort):
    with lane_in(real, f"test-{abort}-{uuid.uuid4().hex[:8]}", specs=(RAY,), redis=kept_state) as lane:
        lane.roll_out(A)
        with Load(lane.url, MODEL, RATE) as load:
            case = run_case(lane, load, (A, B, C), ABORTS[abort], ENOUGH)

    record_property("requests", case.seen.sent.total())
    judge(case)


@pytest.mark.nightly
def test_no_request_fails_on_the_way_from_vllm_to_ray_and_back(real, record_property):
    with lane_in(real, f"test-both-{uuid.uuid4().hex[:8]}", specs=(SPEC, RAY)) as lane:
        lane.roll_out(VLLM)
        with Load(lane.url, MODEL, RATE) as load:
            to_ray = run_case(lane, load, (VLLM, A), ABORTS["early"], ENOUGH)
            back = run_case(lane, load, (A, VLLM), ABORTS["middle"], ENOUGH)

    record_property("requests", to_ray.seen.sent.total() + back.seen.sent.total())
    judge(to_ray)
    judge(back)
