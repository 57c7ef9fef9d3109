"""More and fewer replicas under load, and the one thing that a switch may cut."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from genai_pipeline.k8s.render import release_labels
from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.load import Load
from tests.cluster.machine.cluster import until

RATE = 170
pytestmark = [pytest.mark.needs("pods")]


@pytest.fixture
def lane(real, fresh_namespace, tmp_path):
    return Lane(real.kubeconfig, fresh_namespace(real), tmp_path)


def pods(lane: Lane, of: Any) -> int:
    return len(lane.cluster.list("Pod", release_labels(of, "engine")))


def test_no_request_fails_while_replicas_come_and_go(lane):
    live = release("a")
    lane.roll_out(live)
    with Load(lane.url, MODEL, RATE) as load:
        for replicas in (2, 4, 2, 1):
            lane.cluster.scale(live.object_name, replicas)
            lane.cluster.wait_ready(live.object_name, 60)
            until(lambda n=replicas: pods(lane, live) == n, f"{replicas} pods")
            enough = load.look().sent.total() + RATE
            until(lambda n=enough: load.look().sent.total() >= n, "traffic on them")
        seen = load.take()

    assert seen.causes == {}
    assert seen.sent.total() >= 2000


def test_all_replicas_are_drained_before_any_is_stopped(lane):
    old, new = release("a"), release("b")
    lane.roll_out(old)
    lane.cluster.scale(old.object_name, 2)
    lane.cluster.wait_ready(old.object_name, 60)
    with Load(lane.url, MODEL, RATE) as load:
        verdicts = lane.roll_out(new)
        seen = load.take()

    assert [v.summary for v in verdicts if not v.passed] == []
    assert "outlived" not in verdicts[1].summary
    assert seen.causes == {}


class LongStream(threading.Thread):
    """A stream of some minutes; `whole` is False once it ended before its end."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._at = urlsplit(url)
        self.begun = threading.Event()
        self.whole: bool | None = None

    def run(self) -> None:
        connection = http.client.HTTPConnection(str(self._at.hostname), self._at.port, timeout=60)
        question = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8000}
        body = json.dumps(question | {"ignore_eos": True, "stream": True})
        connection.request("POST", "/v1/chat/completions", body, {"X-Request-Id": "the-long-one"})
        response = connection.getresponse()
        self.begun.set()
        try:
            self.whole = b"[DONE]" in response.read()
        except (http.client.HTTPException, OSError):
            self.whole = False


def test_a_stream_that_outlives_the_drain_is_cut_counted_and_named(lane):
    old, new = release("a"), release("b")
    lane.roll_out(old)
    lane.start(new)
    stream = LongStream(lane.url)
    stream.start()
    assert stream.begun.wait(20)
    impatient = SPEC.model_copy(update={"rollout": SPEC.rollout.model_copy(update={"drain_deadline_s": 2})})

    serves, no_failed_request = lane.go_live(new, impatient)

    stream.join(60)
    assert stream.whole is False
    assert serves.passed
    assert no_failed_request.passed
    assert "1 outlived the drain deadline of 2 s" in no_failed_request.summary
    (row,) = no_failed_request.evidence["outlived_the_drain"]
    assert "the-long-one" in row["request"]
    assert old.object_name in row["request"]
