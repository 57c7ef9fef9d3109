"""From load on an engine to the check in Dagster: scraped, written to Amazon, drawn, alerted, red, and quiet again.

Everything between the engine and the check is real or the product's own: a Prometheus, the PodMonitors' labels, the
rendered rules, the exporter of releases, the signature, the panels' expressions, the sensor `alerts`. The engine and
Amazon are fakes on loopback. Scrapes and rules are a second apart.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import dagster as dg
import httpx
import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from genai_pipeline.automation.alerts_sensor import alerts_sensor
from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.gateways.metrics.sigv4 import SigV4
from genai_pipeline.local.ports import free_port
from genai_pipeline.observability.dashboard_files import DASHBOARDS, filled, panel_queries
from genai_pipeline.observability.exporter import ReleaseExporter
from genai_pipeline.observability.exporter_site import serving
from genai_pipeline.observability.rule_groups import all_groups
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.record.records import Records
from tests.fakes.managed_prometheus import KEY, REGION, SECRET, ManagedPrometheus, Workspace
from tests.fakes.openai_server import FakeEngine, Faults
from tests.fakes.prometheus import Target, Writing, needs_prometheus, running_prometheus
from tests.fakes.resources import fake_resources
from tests.fakes.signing_proxy import SigningProxy
from tests.fakes.store import MemoryStore
from tests.fakes.world import EKS, FakeCluster, FakeHub
from tests.integration.observability.conftest import pod, queue_of_the_chart, until

pytestmark = [needs_prometheus, pytest.mark.long]
SPEC = ModelSpec.model_validate(
    {"name": "weather", "source": {"hub": "owner/name"}, "rollout": {"breach": {"for": "1s"}}}
)
RELEASE = Release.of(SPEC, "1" * 40)
WORKSPACE = "ws-0a1b2c3d"
SCRAPED_EVERY_S = 1
ROUNDS = 5
MOST_REQUESTS = 5_000
PANELS = (
    ("genai-service", "Time to first token"),
    ("genai-service", "Requests"),
    ("genai-engine", "KV cache"),
    ("genai-engine", "Generated tokens"),
)
QUESTION = {"model": SPEC.name, "stream": True, "messages": [{"role": "user", "content": "Hello?"}]}


@dataclass
class Chain:
    """Both ends: the engine, and what the pipeline reads at Amazon."""

    engine: FakeEngine
    metrics: PrometheusMetrics
    engines: Engines
    cursor: str = ""
    said: dg.AssetCheckEvaluation | None = None
    own: EngineMetricsReader = field(default_factory=EngineMetricsReader)

    def read(self) -> EngineMetrics | None:
        """Return what Amazon has of the engine, or None while it has nothing."""
        try:
            return self.metrics.latest(self.engine.url)
        except EngineUnavailable:
            return None

    def arrives_in_s(self, kv_cache: float) -> float:
        """Return the seconds until the engine's figures of now are at Amazon."""
        self.engine.faults = replace(self.engine.faults, kv_cache=kv_cache)
        began, there = time.monotonic(), self.own.read(self.engine.url)
        until(lambda: (found := self.read()) and _is_as_new(found, there))
        return time.monotonic() - began

    def alerts_quiet(self) -> dg.AssetCheckEvaluation | None:
        """Let the sensor look once. Return the check as the Dagster UI shows it then."""
        resources = fake_resources(lambda: self.engines)
        with dg.build_sensor_context(cursor=self.cursor, resources=resources) as context:
            result = alerts_sensor([SPEC])(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor or ""
        for event in result.asset_events:
            assert isinstance(event, dg.AssetCheckEvaluation)
            self.said = event
        return self.said

    def until_quiet(self, quiet: bool) -> dg.AssetCheckEvaluation:
        """Wait until the check has passed, or until it has failed. Inconclusive is neither."""
        outcome = "passed" if quiet else "failed"
        return until(lambda: (said := self.alerts_quiet()) and said.metadata["outcome"].value == outcome and said)


def _is_as_new(found: EngineMetrics, there: EngineMetrics) -> bool:
    first_tokens = [max(figures.ttft_buckets.values(), default=0) for figures in (found, there)]
    tokens = [figures.generation_tokens for figures in (found, there)]
    return (
        found.kv_cache_usage == there.kv_cache_usage and first_tokens[0] >= first_tokens[1] and tokens[0] >= tokens[1]
    )


@contextmanager
def load(engine: FakeEngine) -> Iterator[None]:
    """Ask one question after the other, until the end of `with`."""
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            for _ in range(MOST_REQUESTS):
                client.post(f"{engine.url}/v1/chat/completions", json=QUESTION)
                if ended.wait(0.05):
                    return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    yield
    ended.set()
    asking.join()


def exporter_of(store: MemoryStore, stack: ExitStack) -> str:
    """Serve what the records say. Return host:port."""
    exporter, registry, port = ReleaseExporter(store), CollectorRegistry(), free_port()
    exporter.read()
    registry.register(exporter)
    stack.enter_context(serving("127.0.0.1", port, {"/metrics": make_wsgi_app(registry)}))
    return f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A live release under load, with all that watches it."""
    folder, store = tmp_path_factory.mktemp("chain"), MemoryStore()
    Records(store).open(SPEC, RELEASE, "opened")
    Records(store).set_live(RELEASE)
    with ExitStack() as stack:
        keys = stack.enter_context(pytest.MonkeyPatch.context())
        keys.setenv("AWS_ACCESS_KEY_ID", KEY)
        keys.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        keys.delenv("AWS_SESSION_TOKEN", raising=False)
        engine = stack.enter_context(FakeEngine(SPEC.name, faults=Faults(kv_cache=0.1)))
        stack.enter_context(load(engine))
        amazon = written_to_amazon(folder, engine, exporter_of(store, stack), stack)
        of_engine = {"namespace": "genai", "service": RELEASE.object_name}
        metrics = PrometheusMetrics(amazon.url(WORKSPACE), auth=SigV4(REGION), labels_of=lambda _: of_engine)
        gateways = Gateways(FakeHub(), store, FakeCluster(), None, None, metrics)  # type: ignore[arg-type]
        yield Chain(engine, metrics, Engines(replace(EKS, namespace="genai"), gateways))


def written_to_amazon(folder: Path, engine: FakeEngine, exporter: str, stack: ExitStack) -> ManagedPrometheus:
    """Start a Prometheus that scrapes both, evaluates the rules, and writes on with the options of the chart."""
    store = stack.enter_context(running_prometheus(folder / "store", [], writing=Writing(is_written_to=True)))
    amazon = stack.enter_context(ManagedPrometheus({WORKSPACE: Workspace()}, store.url))
    proxy = stack.enter_context(SigningProxy(amazon.address, REGION))
    url = f"{proxy.address}/workspaces/{WORKSPACE}/api/v1/remote_write"
    targets = [
        Target("engine", engine.url.removeprefix("http://"), pod(RELEASE.object_name, RELEASE.id)),
        Target("releases", exporter, {"namespace": "genai", "pod": "genai-exporter-0"}),
    ]
    groups = [{**group, "interval": "1s"} for group in all_groups([SPEC], Profile.of({"name": "eks"}))]
    writing = Writing(remote_write=[{"url": url, "queue_config": queue_of_the_chart()}])
    stack.enter_context(running_prometheus(folder / "writer", targets, groups, writing))
    return amazon


def test_first_tokens_cache_and_tokens_are_at_amazon_within_two_scrapes(chain: Chain):
    """The median says it: one of a few rounds may wait for a busy processor."""
    until(chain.read)

    took_s = [chain.arrives_in_s(kv_cache=0.2 + round / 100) for round in range(ROUNDS)]

    assert statistics.median(took_s) <= 2 * SCRAPED_EVERY_S


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=[panel for _, panel in PANELS])
def test_the_expressions_of_a_panel_have_data_there(chain: Chain, board: str, panel: str):
    asked = [expr for title, expr in panel_queries(DASHBOARDS / f"{board}.json") if title == panel]

    def drawn() -> Sequence[float]:
        found = [chain.metrics.query(filled(expr, "genai", SPEC.name, RELEASE.id)) for expr in asked]
        return [value for samples in found for _, _, value in samples if math.isfinite(value) and value > 0]

    assert asked
    until(lambda: len(drawn()) == len(asked))


def test_a_fault_of_the_engine_turns_the_check_of_the_live_release_red_until_it_ends(chain: Chain):
    before = chain.until_quiet(True)

    chain.engine.faults = replace(chain.engine.faults, kv_cache=0.99)
    red = chain.until_quiet(False)
    chain.engine.faults = replace(chain.engine.faults, kv_cache=0.1)
    after = chain.until_quiet(True)

    keys = {said.asset_check_key for said in (before, red, after)}
    assert keys == {dg.AssetCheckKey(dg.AssetKey(["weather", "live"]), "alerts_quiet")}
    assert (before.passed, red.passed, after.passed) == (True, False, True)
    assert red.severity is dg.AssetCheckSeverity.ERROR
    assert "GenaiKvCacheFull" in (red.description or "")
