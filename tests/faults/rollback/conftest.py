"""A live release that is made bad under traffic: real processes of the local cluster, the real watch, a real agent.

Promoting is done by the engines of rollout/ and not by the graph, whose own faults are in tests/faults/rollout.
"""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import httpx
import pytest

from genai_pipeline.core.checks import REQUIRED_FOR_LIVE
from genai_pipeline.core.facts import Facts, ServingFigures
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Asked, passed
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.agent.http_agent import HttpAgent
from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest.probe import ContinuousProbe
from genai_pipeline.resources.engines import Engines
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE, World
from tests.faults.rollout.conftest import cluster_daemon as cluster_daemon

RATE_PER_S = 25
LOOK_EVERY_S = 0.25

MODEL = """
name: tiny
source: {{hub: owner/tiny}}
serving:
  image: "test/engine:1"
  startup_deadline_s: 30
  args: {{seed: {seed}}}
  env: {{FAKE_ENGINE_FAULTS: "{faults}"}}
gates: {{serving: {{ttft_p95_ms: 2000, kv_cache_max: 0.9}}}}
rollout: {{watch_minutes: {watch_minutes}, breach: {{for: {hold_s}s, times_baseline: 3, min_requests: 10}}}}
"""


@dataclass
class Back:
    """How a rollback went. `seconds` from the fault to the traffic's return; failed requests until then and after."""

    seconds: float
    failed: int
    failed_after: int
    reason: str


class Stage:
    """One model on a real local cluster; `good` has the traffic and is what everything goes back to.

    `settings` are fields of the profile.
    """

    watch_minutes = 30
    model = MODEL

    def __init__(self, cluster, hold_s, **settings):
        self.world, self.seed, self.cursor, self.hold_s = World(), 0, "", hold_s
        gateways = Gateways(
            self.world.hub, self.world.store, cluster, OpenAIInference, HttpAgent, EngineMetricsReader()
        )
        chosen = {"namespace": cluster.namespace, "weather_url": "http://127.0.0.1:9", "agent_sessions": "memory"}
        self.engines = Engines(replace(PROFILE, **chosen | settings), gateways)
        self.watch = self.engines.live_watch(self.ask)
        self.good = self.promote()

    def promote(self):
        """Start another release, beyond all proof, and move the traffic to it."""
        self.seed += 1
        faults = "ttft_s=0.05,token_s=0.001"
        told = {"seed": self.seed, "faults": faults, "hold_s": self.hold_s, "watch_minutes": self.watch_minutes}
        spec = model_with_tools(self.model.format(**told), "tiny.yaml")
        release = Release.of(spec, "1" * 40)
        records, candidates = self.engines.records(), self.engines.candidates()
        records.open(spec, release, "opened")
        facts = Facts(serving=ServingFigures(ttft_p95_ms=60.0, inter_token_p95_ms=5.0))
        for name in REQUIRED_FOR_LIVE:
            asset = name.split(".")[0]
            mine = [passed(n.split(".")[1], "fine") for n in REQUIRED_FOR_LIVE if n.startswith(f"{asset}.")]
            records.update("tiny", release.id, lambda r, a=asset, m=mine: r.with_verdicts(a, m, 1, facts))
        candidates.start_engine(spec, release, lambda _: None)
        candidates.start_agent(spec, release, lambda _: None)
        verdicts = self.engines.cut_over().go_live(spec, release, ContinuousProbe, lambda _: None)
        assert all(v.passed for v in verdicts), [v.summary for v in verdicts]
        self.spec = spec
        return release

    def ask(self, spec, record, number, url):
        """Tools of the right name are what a fake engine can get right or wrong."""
        answer = HttpAgent(url, 10).ask("What is the weather in Paris?")
        called = [str(tool["name"]) for tool in answer.tools]
        return Asked("weather", "get_weather" in called, f"called {called}: {answer.text[:80]}")

    def break_engine(self, release, **faults):
        url = self.engines.candidates().engine_url(release)
        good = {"ttft_s": 0.05, "token_s": 0.001}
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):  # one that is told to crash answers nothing
            httpx.post(f"{url}/faults", json=good | faults, timeout=5).raise_for_status()

    def tick(self):
        tick = self.watch.tick([self.spec], (), self.cursor)
        self.cursor = tick.cursor
        return tick

    def tick_until(self, condition, deadline_s):
        """The sensor's ticks, more often than its daemon would."""
        pause, end = threading.Event(), time.monotonic() + deadline_s
        while not condition(self.tick()):
            assert time.monotonic() < end, f"not within {deadline_s} s: {self.tick().notes}"
            pause.wait(LOOK_EVERY_S)

    def healthy_looks(self, n):
        """Look so often; nothing may come of it."""
        for _ in range(n):
            assert not self.tick().finishes
            threading.Event().wait(LOOK_EVERY_S)

    def back_after(self, bad, break_it, deadline_s):
        """Break what is live under traffic, and let the watch do what it does."""
        url = self.engines.traffic().url("tiny")
        with ContinuousProbe(url, "tiny", rate_per_s=RATE_PER_S, request_deadline_s=5) as probe:
            assert probe.see(20, 20)
            self.healthy_looks(3)
            assert not probe.failed
            began = time.monotonic()
            break_it()
            self.tick_until(lambda tick: tick.finishes, deadline_s)
            seconds = time.monotonic() - began
            assert probe.see(10, 20)  # what was under way when the traffic moved
            failed = probe.failed
            assert probe.see(25, 20)
            after = probe.failed - failed
        self.engines.roll_back().finish("tiny", lambda _: None)
        return Back(seconds, failed, after, self.engines.records().require("tiny", bad.id).reason)


@pytest.fixture(
    scope="module", params=[1.0, pytest.param(10.0, marks=pytest.mark.nightly)], ids="held for {:g} s".format
)
def stage(cluster_daemon, request):
    """By how long a breach has to hold."""
    cluster = LocalCluster(cluster_daemon.url, cluster_daemon.world().cluster.namespace)
    yield Stage(cluster, request.param)
    for kind in ("Service", "Deployment"):
        for found in cluster.list(kind):
            cluster.delete(kind, found["metadata"]["name"])
