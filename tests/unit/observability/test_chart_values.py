"""The values for the charts of others say what the dashboards, rules and monitors need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.core.clock_reasons import SERIES
from genai_pipeline.observability.alert_routing import CRITICAL, WARNING, alert_routing
from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.observability_objects import SIDECAR
from genai_pipeline.observability.rule_groups import OPERATOR_LABELS, all_groups
from tests.fakes.promql import expressions, names
from tests.unit.observability.test_alerts import EKS, SPEC, every_alert

FOLDER = Path(__file__).parents[3] / "deploy" / "observability"


_, BEFORE_DCGM_3_3 = SERIES


def values(chart: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{chart}.yaml").read_text())


def test_dcgm_exports_every_metric_of_a_gpu_that_a_panel_or_a_rule_asks_for():
    exported = set(re.findall(r"^(DCGM_\w+), (?:gauge|counter), ", values("dcgm-exporter")["customMetrics"], re.M))
    asked = [expr for file in dashboard_files() for _, expr in expressions(file)]
    asked += [rule["expr"] for group in all_groups([SPEC], EKS) for rule in group["rules"]]

    assert {name for expr in asked for name in names(expr) if name.startswith("DCGM_")} <= {*exported, BEFORE_DCGM_3_3}
    assert BEFORE_DCGM_3_3 not in exported


def test_dcgms_monitor_is_selected_and_its_series_name_the_pod():
    chart = values("dcgm-exporter")

    assert chart["serviceMonitor"]["additionalLabels"] == OPERATOR_LABELS
    assert chart["serviceMonitor"]["honorLabels"] is True
    assert {"name": "DCGM_EXPORTER_KUBERNETES", "value": "true"} in chart["extraEnv"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in chart["tolerations"]


def test_grafana_looks_for_the_label_of_the_dashboards_in_every_namespace():
    sidecar = values("kube-prometheus-stack")["grafana"]["sidecar"]["dashboards"]

    assert {sidecar["label"]: sidecar["labelValue"]} == SIDECAR
    assert sidecar["searchNamespace"] == "ALL"


def test_alerts_are_routed_as_on_one_machine_to_webhooks_that_are_secrets():
    config = values("kube-prometheus-stack")["alertmanager"]["config"]
    secret = {name: {"url_file": f"/etc/alertmanager/secrets/alert-webhook/{name}"} for name in (CRITICAL, WARNING)}
    nowhere, *routes = config["route"].pop("routes")
    receivers = [receiver for receiver in config["receivers"] if receiver["name"] != "null"]
    ours = alert_routing(secret)

    assert nowhere["receiver"] == "null"
    assert routes == ours["route"].pop("routes")
    assert config["route"] == ours["route"]
    assert receivers == ours["receivers"]
    assert config["inhibit_rules"] == ours["inhibit_rules"]


def test_every_severity_has_a_receiver_and_every_inhibition_names_alerts_that_exist():
    ours = alert_routing({CRITICAL: {}, WARNING: {}})
    known = {a.name for a in every_alert()}
    named = [matcher for rule in ours["inhibit_rules"] for matcher in rule["source_matchers"] + rule["target_matchers"]]

    assert {a.severity for a in every_alert()} == {receiver["name"] for receiver in ours["receivers"]}
    for pattern in re.findall(r'"(.+)"', " ".join(f"{matcher}\n" for matcher in named)):
        assert any(re.fullmatch(pattern, name) for name in known), pattern


def test_prometheus_sends_again_what_amazon_throttles():
    (write,) = values("kube-prometheus-stack")["prometheus"]["prometheusSpec"]["remoteWrite"]

    assert write["queueConfig"]["retryOnRateLimit"] is True
