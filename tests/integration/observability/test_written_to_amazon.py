"""What a real Prometheus writes to Amazon Managed Prometheus: it arrives, is refused, is throttled, is kept meanwhile.

The options of remote write are those of deploy/observability, but for the time that samples are collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from genai_pipeline.cli.observability_doctor import observability_findings
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.gateways.metrics.sigv4 import SigV4
from genai_pipeline.observability.metrics_verified import CHECKS_BY_NAME, LiveEngine
from tests.fakes import simulated_exporters as simulated
from tests.fakes.managed_prometheus import KEY, REGION, SECRET, WRITE, ManagedPrometheus, Workspace
from tests.fakes.prometheus import Prometheus, Target, Writing, needs_prometheus, running_prometheus
from tests.fakes.signing_prometheus import WITHOUT, signing_prometheus
from tests.fakes.signing_proxy import SigningProxy
from tests.fakes.store import MemoryStore
from tests.fakes.world import EKS, FakeCluster, FakeHub
from tests.integration.observability.conftest import pod, queue_of_the_chart, until

pytestmark = needs_prometheus
COUNTED = "genai_ticks_total"
SPEC = ModelSpec.model_validate({"name": "weather", "source": {"hub": "owner/name"}})
SCRAPED_EVERY_S = 1
REFUSED = {
    "ws-role": Workspace(denied=frozenset({WRITE})),
    "ws-key": Workspace(keys={KEY: "another"}),
    "ws-clock": Workspace(ahead=timedelta(minutes=20)),
    "ws-region": Workspace(region="us-east-1"),
}


@dataclass(frozen=True)
class Written:
    """A Prometheus that writes to workspaces, and what is behind them. All samples of a workspace name it."""

    amazon: ManagedPrometheus
    writer: Prometheus
    store: Prometheus
    engine: simulated.Exporter

    def read(self, workspace: str, region: str = REGION) -> PrometheusMetrics:
        """Return the product's gateway to a workspace."""
        return PrometheusMetrics(self.amazon.url(workspace), auth=SigV4(region))

    def samples(self, workspace: str) -> list[Any]:
        """Return time and value of every sample of the counter that a workspace has."""
        found = self.store.query(f'{COUNTED}{{workspace="{workspace}"}}[1h]')
        return [tuple(sample) for series in found for sample in series["values"]]

    def scraped(self) -> list[Any]:
        """Return every sample of the counter that was scraped."""
        return [tuple(sample) for series in self.writer.query(f"{COUNTED}[1h]") for sample in series["values"]]

    def all_arrived(self, workspace: str) -> bool:
        """Return whether all that was scraped until now is there."""
        before = self.scraped()
        return len(before) > 1 and set(before) <= set(self.samples(workspace))


@pytest.fixture(
    scope="module", params=["by a proxy that signs", pytest.param("by Prometheus itself", marks=pytest.mark.nightly)]
)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    """All workspaces at once, so that one start serves every test."""
    program = "prometheus"
    if signs := request.param == "by Prometheus itself":
        program = signing_prometheus() or pytest.skip(WITHOUT)
    folder = tmp_path_factory.mktemp("amazon")
    workspaces = {"ws-right": Workspace(), "ws-throttled": Workspace(throttles=3), "ws-down": Workspace()}
    workspaces |= {name: replace(refused) for name, refused in REFUSED.items()}
    with ExitStack() as stack:
        ticks = f"# TYPE {COUNTED} counter\n{COUNTED} 1\n{simulated.vllm()}"
        engine = stack.enter_context(simulated.Exporter(ticks))
        store = stack.enter_context(running_prometheus(folder / "store", [], writing=Writing(is_written_to=True)))
        amazon = stack.enter_context(ManagedPrometheus(workspaces, store.url))
        proxy = stack.enter_context(SigningProxy(amazon.address, REGION))

        def remote(name: str) -> dict[str, Any]:
            to = amazon.url(name) if signs else f"{proxy.address}/workspaces/{name}"
            signed = {"sigv4": {"region": REGION, "access_key": KEY, "secret_key": SECRET}} if signs else {}
            named = [{"target_label": "workspace", "replacement": name}]
            write = {
                "url": f"{to}/api/v1/remote_write",
                "queue_config": queue_of_the_chart(),
                "write_relabel_configs": named,
            }
            return write | signed

        writing = Writing(program, [remote(name) for name in workspaces], sees_itself=True)
        target = Target("engine", engine.target, pod("weather-a", "a"))
        writer = stack.enter_context(running_prometheus(folder / "writer", [target], writing=writing))
        yield Written(amazon, writer, store, engine)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)


def test_what_is_written_is_read_back_by_the_product(written: Written):
    until(lambda: written.samples("ws-right"))

    ((name, labels, value),) = written.read("ws-right").query(f'{COUNTED}{{workspace="ws-right"}}')

    assert (name, labels["model"], labels["release"]) == (COUNTED, "weather", "a")
    assert value >= 1


def test_a_sample_of_a_live_engine_arrives_within_two_scrapes(written: Written):
    metrics, engine = written.read("ws-right"), LiveEngine(SPEC, "a", "genai")

    def arrives() -> bool:
        found = CHECKS_BY_NAME["samples_arrive"](metrics, [engine])
        rows = {row["what"]: row["age_s"] for row in found.evidence.get("samples", [])}
        return found.passed and rows["weather"] <= 2 * SCRAPED_EVERY_S

    assert until(arrives)


def test_the_doctor_names_each_workspace_that_refuses_with_action_and_region(written: Written):
    metrics = PrometheusMetrics(written.writer.url)
    profile = replace(EKS, prometheus_url=written.writer.url, namespace="genai", region=REGION)
    gateways = Gateways(FakeHub(), MemoryStore(), FakeCluster(), None, None, metrics)  # type: ignore[arg-type]

    def refusals() -> Mapping[str, str]:
        found = [finding for finding in observability_findings([SPEC], profile, gateways) if "lost" in finding.what]
        return {finding.what.split("/")[4]: finding.remedy for finding in found}

    found = until(lambda: len(refusals()) >= len(REFUSED) and refusals())

    assert set(found) == set(REFUSED)
    for workspace, remedy in found.items():
        assert f"needs {WRITE} on workspace {workspace} in region {REGION}." in remedy


def test_what_is_throttled_is_sent_again(written: Written):
    until(lambda: written.all_arrived("ws-throttled"))

    answered = written.amazon.workspaces["ws-throttled"].answered
    assert answered[WRITE, 429] == 3
    assert not written.writer.query('prometheus_remote_storage_samples_failed_total{url=~".*ws-throttled.*"} > 0')


@pytest.mark.long
def test_nothing_is_lost_while_amazon_is_down(written: Written):
    workspace = written.amazon.workspaces["ws-down"]
    until(lambda: written.all_arrived("ws-down"))

    workspace.down = True
    workspace.until(WRITE, 503, times=5)
    before, seen = written.engine.scrapes, written.samples("ws-down")
    until(lambda: written.engine.scrapes > before + 5)
    assert written.samples("ws-down") == seen
    workspace.down = False

    until(lambda: written.all_arrived("ws-down"))
    assert len(written.samples("ws-down")) > len(seen) + 5
