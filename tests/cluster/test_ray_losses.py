"""A model on Ray loses a worker, a replica with streams on it, and its only head: what clients see, and what is said.

A real KubeRay and a real Ray; the fake engine stands in place of vLLM. test_ray_switches.py has the head with a Redis.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from kubernetes.client.exceptions import ApiException

from genai_pipeline.core.errors import NotReady
from tests.cluster.lane import MODEL, Lane, release
from tests.cluster.load import Load, Seen
from tests.cluster.losses import evict, kill, lose
from tests.cluster.machine.cluster import until
from tests.cluster.on_ray import RATE, STARTS_S, name_of, on_ray, pods, ready
from tests.cluster.switching import lane_in

pytestmark = [pytest.mark.needs("pods", "kuberay"), pytest.mark.timeout(1800), pytest.mark.nightly]

RAY = on_ray(2)
A = release("a", RAY)
STREAMS = 6
"""Both replicas have some: Serve gives each request to the less busy one."""


@pytest.fixture(scope="module")
def lane(real) -> Iterator[Lane]:
    with lane_in(real, f"test-losses-{uuid.uuid4().hex[:8]}", specs=(RAY,)) as lane:
        lane.roll_out(A)
        yield lane


@pytest.fixture(scope="module")
def load(lane) -> Iterator[Load]:
    until(lambda: len(ready(lane, A)) == 2, "two workers", STARTS_S)
    with Load(lane.url, MODEL, RATE) as load:
        yield load


def more(load: Load, requests: int) -> None:
    enough = load.look().sent.total() + requests
    until(lambda: load.look().sent.total() >= enough, f"{requests} more requests")


@dataclass(frozen=True)
class Evicted:
    """One of two workers evicted. `refused`: the answer to the eviction of the other one meanwhile."""

    refused: int
    seen: Seen


@pytest.fixture(scope="module")
def evicted(lane, load) -> Evicted:
    first, second = pods(lane, A)
    load.take()
    evict(lane.kubeconfig, first)
    with pytest.raises(ApiException) as refused:
        evict(lane.kubeconfig, second)
    until(lambda: len(ready(lane, A) - {name_of(first)}) == 2, "the successor", STARTS_S)
    more(load, RATE)
    return Evicted(refused.value.status, load.take())


def test_no_request_fails_while_a_node_is_drained(evicted, record_property):
    record_property("requests", evicted.seen.sent.total())

    assert evicted.seen.causes == {}
    assert evicted.seen.sent.total() > RATE


def test_the_last_replica_is_not_evicted(evicted):
    assert evicted.refused == 429


class Stream(threading.Thread):
    """A stream of some minutes. `end`: whole, broken, or short where it ended politely before its end."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._at = urlsplit(url)
        self.begun = threading.Event()
        self.end, self.at = "", 0.0

    def run(self) -> None:
        connection = http.client.HTTPConnection(str(self._at.hostname), self._at.port, timeout=300)
        question = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4000}
        connection.request("POST", "/v1/chat/completions", json.dumps(question | {"ignore_eos": True, "stream": True}))
        response = connection.getresponse()
        response.readline()
        self.begun.set()
        try:
            self.end = "whole" if b"[DONE]" in response.read() else "short"
        except (http.client.HTTPException, OSError):
            self.end = "broken"
        self.at = time.monotonic()


@dataclass(frozen=True)
class Killed:
    """A worker killed while streams ran. `after`: what clients saw once those of its streams had ended."""

    ends: list[str]
    latest_s: float
    after: Seen


@pytest.fixture(scope="module")
def killed(lane, load, evicted) -> Killed:
    streams = [Stream(lane.url) for _ in range(STREAMS)]
    for stream in streams:
        stream.start()
    assert all(stream.begun.wait(60) for stream in streams)
    victim = pods(lane, A)[0]
    at = time.monotonic()
    kill(victim)
    until(lambda: any(stream.end for stream in streams), "the end of a stream")
    # Until kubelet has seen it, new connections are refused, as those to any pod that was killed.
    until(lambda: name_of(victim) not in ready(lane, A), "the pod's place in the Service")
    more(load, RATE)
    load.take()
    more(load, 2 * RATE)
    ended = [stream for stream in streams if stream.end]
    return Killed([stream.end for stream in ended], max(stream.at for stream in ended) - at, load.take())


def test_streams_of_a_killed_worker_end_as_an_error_at_once(killed, record_property):
    record_property("seconds", killed.latest_s)

    assert 0 < len(killed.ends) < STREAMS
    assert set(killed.ends) == {"broken"}


def test_the_other_replica_answers_meanwhile(killed):
    assert killed.after.causes == {}


@pytest.fixture(scope="module")
def headless(lane, load, killed) -> str:
    """What the wait says after the only head without a Redis was lost."""
    until(lambda: len(ready(lane, A)) == 2, "both workers again", STARTS_S)
    (head,) = pods(lane, A, heads=True)
    lose(lane.kubeconfig, head)
    return until(lambda: why_not_ready(lane), "a word about it", 120)


def why_not_ready(lane: Lane) -> str:
    try:
        lane.cluster.wait_ready(A.object_name, 1, kind="RayService")
    except NotReady as error:
        return str(error)
    return ""


def test_the_loss_of_a_head_without_a_redis_is_named(headless):
    assert "head" in headless
    assert "GENAI_RAY_REDIS" in headless


def test_the_release_comes_back_by_itself(lane, load, headless):
    lane.cluster.wait_ready(A.object_name, STARTS_S, kind="RayService")
    load.take()

    until(lambda: load.take().releases, "answers", STARTS_S)
