"""A release of plain vLLM that follows its load on the cluster of one machine: 1 -> 2 -> 1, and no request fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import httpx
import pytest

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.rollout.switch.candidates import Candidates
from tests.conformance.world import World, until
from tests.fakes.store import MemoryStore
from tests.fakes.world import PROFILE, FakeAgent, FakeHub
from tests.fakes.world import World as Outside

SPEC = parse_model(
    """
name: tiny
source: {hub: a/b}
agent: none
serving:
  image: test/engine:1
  args: {fault: "ttft_s=0.25"}
  replicas: {min: 1, max: 2, target_ongoing_requests: 2, upscale_delay_s: 2, downscale_delay_s: 3}
""",
    "f",
)
RELEASE = Release.of(SPEC, "a" * 40)
ASKED_ON_A_CONNECTION = 3


@dataclass
class Users:
    """Each asks one question after the other, three on a connection, so that every replica gets some."""

    url: str
    failed: list[str] = field(default_factory=list[str])
    answered: int = 0

    @contextmanager
    def asking(self, number: int) -> Iterator[None]:
        over = threading.Event()
        users = [threading.Thread(target=self._ask, args=(over,)) for _ in range(number)]
        for user in users:
            user.start()
        try:
            yield
        finally:
            over.set()
            for user in users:
                user.join()

    def _ask(self, over: threading.Event) -> None:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
        while not over.is_set():
            with httpx.Client(trust_env=False, timeout=20) as client:
                for _ in range(ASKED_ON_A_CONNECTION):
                    try:
                        client.post(f"{self.url}/v1/chat/completions", json=body).raise_for_status()
                        self.answered += 1
                    except httpx.HTTPError as error:
                        self.failed.append(repr(error))


@pytest.mark.long
def test_the_replicas_follow_the_load_and_no_request_fails(world: World) -> None:
    cluster, outside = world.cluster, Outside()
    gateways = Gateways(
        FakeHub(), MemoryStore(), cluster, OpenAIInference, lambda url: FakeAgent(outside, url), EngineMetricsReader()
    )
    candidates = Candidates(gateways, replace(PROFILE, namespace=cluster.namespace))
    users = Users(candidates.start_engine(SPEC, RELEASE, lambda _: None))

    def up(number: int) -> None:
        until(lambda: candidates.replicas_up(RELEASE) == number, 60)
        until(lambda: len(cluster.list("Pod")) == number, 60)

    with users.asking(6):
        up(2)
    with users.asking(1):
        up(1)

    assert users.failed == []
    assert users.answered > 20
    messages = [e.message for e in cluster.events("Deployment", RELEASE.object_name) if e.reason == "SuccessfulRescale"]
    assert [message.partition(";")[0] for message in messages] == ["New size: 2", "New size: 1"]

    candidates.stop(RELEASE)
    assert cluster.list("Pod") == []
    assert cluster.get("ScaledObject", RELEASE.object_name) is None
    candidates.restart(SPEC, RELEASE)
    assert cluster.get("ScaledObject", RELEASE.object_name)
    assert candidates.replicas_up(RELEASE) == 1
    candidates.remove(RELEASE)
