"""What the real Prometheus operator makes of our monitors, rules and values; a real Prometheus then runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.cli.observability_doctor import observability_findings
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.k8s.render import render_monitoring
from genai_pipeline.local.ports import free_port
from tests.cluster.identities import kubectl
from tests.cluster.lane import MODEL, SPEC, Lane, release
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.node import NODE_ADDRESS
from tests.cluster.machine.objects import api
from tests.cluster.operators.prometheus_operator import (
    CHART,
    PLACES,
    Generated,
    host_program,
    prometheus_object,
    prometheus_operator,
    values,
)
from tests.cluster.switching import lane_in
from tests.fakes.prometheus import Prometheus
from tests.fakes.store import MemoryStore
from tests.fakes.world import EKS, FakeHub

pytestmark = pytest.mark.nightly
WRITTEN_S = 60
"""The operator writes the first configuration within 14 s of its start."""
BROKEN = "sum(vllm:kv_cache_usage_perc"


def monitor(name: str, chart: str) -> dict[str, Any]:
    """A monitor of another service, for the operator of this chart."""
    spec = {"selector": {"matchLabels": {"app": name}}, "endpoints": [{"port": "metrics"}]}
    metadata = {"name": name, "labels": {"release": chart}}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": metadata, "spec": spec}


def rule(name: str, expression: str) -> dict[str, Any]:
    group = {"name": name, "rules": [{"alert": "Alert", "expr": expression}]}
    metadata = {"name": name, "labels": {"release": CHART}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": [group]},
    }


def rendered(namespace: str, out: Path) -> list[dict[str, Any]]:
    """What `genai render --observability` writes for the model of this repository."""
    command = [sys.executable, "-m", "genai_pipeline.cli", "render", "--observability", "--out", str(out)]
    settings = {"GENAI_PROFILE": "eks", "GENAI_NAMESPACE": namespace, "AWS_REGION": PLACES["REGION"]}
    subprocess.run(command, env=os.environ | settings, check=True, capture_output=True)
    return [o for file in sorted(out.rglob("*-*.yaml")) for o in yaml.safe_load_all(file.read_text())]


@pytest.fixture(scope="module")
def generated(simulated, tmp_path_factory) -> Iterator[Generated]:
    """The operator beside the simulated cluster, and a Prometheus as the chart makes it of our values."""
    folder, namespace = tmp_path_factory.mktemp("operator"), f"test-{uuid.uuid4().hex[:8]}"
    with prometheus_operator(simulated, folder):
        create_namespace(simulated.kubeconfig, namespace)
        try:
            found = Generated(simulated.kubeconfig, namespace)
            found.apply(prometheus_object(namespace))
            until(found.configuration, "the first configuration", WRITTEN_S)
            yield found
        finally:
            delete_namespace(simulated.kubeconfig, namespace)


@pytest.fixture(scope="module")
def objects(generated, tmp_path_factory) -> list[dict[str, Any]]:
    """What the product renders, applied as our documentation says."""
    out = tmp_path_factory.mktemp("rendered")
    found = rendered(generated.namespace, out)
    kubectl(generated.kubeconfig, "apply", "--server-side", "--field-manager=genai-pipeline", "-k", str(out))
    return found


def test_every_monitor_that_we_render_is_in_the_configuration_of_prometheus(generated, objects):
    wanted = {f"podMonitor/{o['metadata']['name']}": o for o in objects if o["kind"] == "PodMonitor"}

    until(lambda: wanted.keys() <= generated.jobs().keys(), f"the jobs {', '.join(wanted)}", WRITTEN_S)

    jobs = generated.jobs()
    assert {name.rpartition("/")[2] for name in wanted} >= {
        "genai-engine",
        "genai-agent",
        "genai-ray",
        "genai-exporter",
    }
    assert {jobs[name]["scrape_interval"] for name in wanted} == {"15s"}
    engine = [r["target_label"] for r in jobs["podMonitor/genai-engine"]["relabel_configs"] if "target_label" in r]
    assert {"service", "model", "release", "namespace", "pod"} <= set(engine)


def test_a_monitor_for_another_release_of_the_chart_is_left_out(generated):
    generated.apply(monitor("ours", CHART), monitor("wrong", "prometheus"))

    until(lambda: "serviceMonitor/ours" in generated.jobs(), "the monitor with the right label", WRITTEN_S)

    assert "serviceMonitor/wrong" not in generated.jobs()


def test_the_monitor_of_gpus_keeps_the_names_of_the_pods_that_use_them(generated):
    of_chart = values("dcgm-exporter")["serviceMonitor"]
    dcgm = monitor("dcgm-exporter", CHART)
    dcgm["metadata"]["labels"] = of_chart["additionalLabels"]
    dcgm["spec"]["endpoints"][0] |= {name: of_chart[name] for name in ("interval", "honorLabels")}
    generated.apply(dcgm)

    job = until(lambda: generated.jobs().get("serviceMonitor/dcgm-exporter"), "the exporter's monitor", WRITTEN_S)

    assert job["honor_labels"] is True


def test_every_group_of_our_rules_is_loaded(generated, objects):
    wanted = {g["name"] for o in objects if o["kind"] == "PrometheusRule" for g in o["spec"]["groups"]}

    until(lambda: wanted <= generated.groups(), f"the groups {', '.join(sorted(wanted))}", WRITTEN_S)

    assert len(wanted) > 1


def test_a_broken_rule_is_named_in_an_event_and_the_others_stay(generated):
    def complaints() -> list[str]:
        with api(generated.kubeconfig) as connection:
            about = "involvedObject.kind=PrometheusRule,involvedObject.name=broken"
            found: Any = client.CoreV1Api(connection).list_namespaced_event(generated.namespace, field_selector=about)
        return [
            event.message for event in found.items if (event.type, event.reason) == ("Warning", "InvalidConfiguration")
        ]

    generated.apply(rule("broken", BROKEN), rule("sound", f"{BROKEN})"))

    (said, *_) = until(complaints, "a warning about the broken rule", WRITTEN_S)
    until(lambda: "sound" in generated.groups(), "the group of the sound rule", WRITTEN_S)
    assert "broken" in said
    assert "broken" not in generated.groups()


def test_it_writes_to_amazon_as_our_values_say(generated):
    wanted = values(CHART)["prometheus"]["prometheusSpec"]

    (write,) = generated.configuration()["remote_write"]

    assert (write["url"], write["sigv4"]) == (wanted["remoteWrite"][0]["url"], {"region": PLACES["REGION"]})
    options = {"capacity": 2500, "max_samples_per_send": 1000, "max_shards": 200, "retry_on_http_429": True}
    assert options.items() <= write["queue_config"].items()
    assert generated.configuration()["global"]["external_labels"]["cluster"] == PLACES["CLUSTER"]


def test_our_routes_of_alerts_reach_alertmanager_as_they_are(generated):
    """The operator reads them field by field, and refuses a whole file for one field that it does not know."""
    ours = values(CHART)["alertmanager"]
    kept_in = {"name": f"alertmanager-{CHART}"}
    text = {"alertmanager.yaml": yaml.safe_dump(ours["config"])}
    spec = {"replicas": 1, "alertmanagerConfigSelector": {}, **ours["alertmanagerSpec"]}
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "Alertmanager", "metadata": {"name": CHART}}
    generated.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": kept_in, "stringData": text}, kind | {"spec": spec}
    )

    written = until(generated.alerting, "the configuration of Alertmanager", WRITTEN_S)

    assert {part: written[part] for part in ours["config"]} == ours["config"]


def test_the_whole_configuration_is_one_that_prometheus_takes(generated, objects, tmp_path):
    until(generated.groups, "rules", WRITTEN_S)
    file = generated.write(tmp_path)

    checked = subprocess.run(
        [host_program("promtool"), "check", "config", str(file)], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rule files found" in checked.stdout


class Scraped:
    """A fake engine in a pod of the real node, and a Prometheus that found it by the operator's configuration."""

    def __init__(self, lane: Lane, generated: Generated, prometheus: Prometheus) -> None:
        self.lane, self.generated, self.prometheus = lane, generated, prometheus

    def findings(self) -> list[Finding]:
        """What `genai doctor` says about metrics, on EKS."""
        profile = replace(EKS, namespace=self.lane.namespace, prometheus_url=self.prometheus.url)
        cluster, metrics = self.lane.cluster, PrometheusMetrics(self.prometheus.url)
        unused: Any = None
        gateways = Gateways(FakeHub(), MemoryStore(), cluster, unused, unused, metrics)
        return observability_findings([SPEC], profile, gateways)


@pytest.fixture(scope="module")
def scraped(real, tmp_path_factory) -> Iterator[Scraped]:
    host_program("prometheus")  # without one nothing is started
    folder, namespace = tmp_path_factory.mktemp("scraped"), f"test-scraped-{uuid.uuid4().hex[:8]}"
    with prometheus_operator(real, folder), lane_in(real, namespace) as lane:
        found = Generated(real.kubeconfig, namespace)
        found.apply(prometheus_object(namespace, remoteWrite=None), *render_monitoring(lane.profile))
        until(lambda: "podMonitor/genai-engine" in found.jobs(), "the job of the engines", WRITTEN_S)
        lane.roll_out(release("a"))
        with found.running(folder / "prometheus", NODE_ADDRESS, free_port()) as prometheus:
            yield Scraped(lane, found, prometheus)


@pytest.mark.needs("pods")
def test_a_prometheus_that_runs_the_configuration_scrapes_an_engine_under_our_labels(scraped):
    ours = f'{{__name__=~"vllm[:_]num_requests_running",namespace="{scraped.lane.namespace}"}}'

    (series,) = until(lambda: scraped.prometheus.query(ours), "the engine's figures", WRITTEN_S)

    live = release("a")
    assert series["metric"].items() >= {"model": MODEL, "release": live.id, "service": live.object_name}.items()
    assert series["metric"]["pod"].startswith(live.object_name)


@pytest.mark.needs("pods")
def test_the_doctor_sees_samples_that_are_written_nowhere(scraped):
    until(lambda: scraped.prometheus.query("prometheus_build_info"), "what Prometheus says about itself", WRITTEN_S)
    until(lambda: scraped.prometheus.query(f'up{{namespace="{scraped.lane.namespace}"}}'), "samples", WRITTEN_S)

    said = scraped.findings()

    assert [f.level for f in said] == ["ok", "ok", "warn"], said
    assert "has no remote write" in said[-1].what


@pytest.mark.needs("pods")
def test_the_doctor_names_the_monitor_that_the_operator_leaves_out(scraped):
    namespace, kubeconfig = scraped.lane.namespace, scraped.lane.kubeconfig
    kubectl(kubeconfig, "label", "podmonitor", "genai-engine", "-n", namespace, "release-")
    until(lambda: "podMonitor/genai-engine" not in scraped.generated.jobs(), "the job's end", WRITTEN_S)

    (wrong,) = [finding for finding in scraped.findings() if finding.level == "fail"]

    assert "PodMonitor genai-engine has the label release=None" in wrong.what
    assert CHART in wrong.remedy
