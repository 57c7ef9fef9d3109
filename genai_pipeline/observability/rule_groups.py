"""Rule groups as files and as objects: the same ones for a Prometheus operator and for Amazon Managed Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.k8s.templating import MANAGED_BY, Objects
from genai_pipeline.observability.alerts import alerts_of, rules_of, with_traffic
from genai_pipeline.observability.platform_alerts import platform_alerts
from genai_pipeline.observability.recordings import recordings_of

INTERVAL = "15s"
"""How often rules are evaluated: as often as the pods are scraped."""
OPERATOR_LABELS = {"release": "kube-prometheus-stack"}
"""What the operator of that chart selects by default. Without it a rule is not loaded, and nothing says so."""

Group = Mapping[str, Any]


def model_groups(spec: ModelSpec, profile: Profile) -> list[Group]:
    """Return the recording rules and the alerts of one model, in one group: alerts read what was just recorded."""
    recorded = [with_traffic(spec, profile.namespace), *recordings_of(spec, profile.namespace)]
    alerts = rules_of(alerts_of(spec, profile.namespace), profile.runbooks)
    return [{"name": f"genai-{spec.name}", "interval": INTERVAL, "rules": [*map(dict, recorded), *alerts]}]


def platform_groups(profile: Profile) -> list[Group]:
    """Return the alerts that all models share."""
    rules = rules_of(platform_alerts(profile), profile.runbooks)
    return [{"name": "genai-platform", "interval": INTERVAL, "rules": rules}]


def all_groups(specs: Sequence[ModelSpec], profile: Profile) -> list[Group]:
    """Return every group, as a plain rule file has them under `groups`."""
    return [*platform_groups(profile), *(group for spec in specs for group in model_groups(spec, profile))]


def prometheus_rules(specs: Sequence[ModelSpec], profile: Profile) -> Objects:
    """Return one PrometheusRule for the platform and one for each model."""
    named = [("genai-platform", platform_groups(profile))]
    named += [(f"genai-{spec.name}", model_groups(spec, profile)) for spec in specs]
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name, "namespace": profile.namespace, "labels": {**MANAGED_BY, **OPERATOR_LABELS}},
            "spec": {"groups": groups},
        }
        for name, groups in named
    ]
