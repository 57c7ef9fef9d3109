"""What `genai render --observability` writes: dashboards, rules, monitors and the exporter of releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import LOCAL_PORTS, SETTINGS, Profile
from genai_pipeline.k8s.agent import own_image
from genai_pipeline.k8s.network import network_values
from genai_pipeline.k8s.render import STORE_ACCESS, render_monitoring
from genai_pipeline.k8s.templating import MANAGED_BY, Objects, render_template
from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.rule_groups import prometheus_rules

SIDECAR = {"grafana_dashboard": "1"}
"""The label by which the Grafana of kube-prometheus-stack finds dashboards in every namespace."""
_READ_BY_EXPORTER = ("name", "bucket", "region", "namespace")


def observability_objects(specs: Sequence[ModelSpec], profile: Profile) -> Objects:
    """Return all of it for these models."""
    return [
        *render_monitoring(profile),
        *prometheus_rules(specs, profile),
        *render_dashboards(profile),
        *render_release_exporter(profile),
    ]


def render_dashboards(profile: Profile) -> Objects:
    """Return a ConfigMap for each dashboard."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"dashboard-{file.stem}",
                "namespace": profile.namespace,
                "labels": {**MANAGED_BY, **SIDECAR},
            },
            "data": {file.name: file.read_text()},
        }
        for file in dashboard_files()
    ]


def render_release_exporter(profile: Profile) -> Objects:
    """Return the exporter of releases with its account, its network policy and its monitor."""
    variables = {s.field: s.variable for s in SETTINGS}
    settings: dict[str, Any] = {variables[field]: getattr(profile, field) for field in _READ_BY_EXPORTER}
    if profile.pods_s3_endpoint:
        settings[variables["s3_endpoint"]] = profile.pods_s3_endpoint
    return render_template(
        "release_exporter.yaml",
        profile,
        image=own_image(profile, "pipeline"),
        port=LOCAL_PORTS["exporter"],
        settings=settings,
        store_access=STORE_ACCESS,
        **network_values(profile),
    )
