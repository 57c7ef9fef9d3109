"""The values for the charts of others say what the dashboards, rules and monitors need."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.observability_objects import SIDECAR
from genai_pipeline.observability.rule_groups import OPERATOR_LABELS, all_groups
from tests.fakes.promql import expressions, names
from tests.unit.observability.test_alerts import EKS, SPEC, every_alert

FOLDER = Path(__file__).parents[3] / "deploy" / "observability"


def values(chart: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{chart}.yaml").read_text())


def test_dcgm_exports_every_metric_of_a_gpu_that_a_panel_or_a_rule_asks_for():
    exported = set(re.findall(r"^(DCGM_\w+), (?:gauge|counter), ", values("dcgm-exporter")["customMetrics"], re.M))
    asked = [expr for file in dashboard_files() for _, expr in expressions(file)]
    asked += [rule["expr"] for group in all_groups([SPEC], EKS) for rule in group["rules"]]

    assert {name for expr in asked for name in names(expr) if name.startswith("DCGM_")} <= exported


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


def test_an_inhibition_names_an_alert_that_exists():
    (rule,) = values("kube-prometheus-stack")["alertmanager"]["config"]["inhibit_rules"]

    assert re.findall(r'"(Genai\w+)"', " ".join(rule["source_matchers"])) == ["GenaiEngineUnseen"]
    assert "GenaiEngineUnseen" in {a.name for a in every_alert()}


def test_prometheus_sends_again_what_amazon_throttles():
    (write,) = values("kube-prometheus-stack")["prometheus"]["prometheusSpec"]["remoteWrite"]

    assert write["queueConfig"]["retryOnRateLimit"] is True
