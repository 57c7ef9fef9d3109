"""The chart charts/genai-pipeline, as the real helm sees it."""

from __future__ import annotations

from typing import Any

import yaml

from tests.unit.k8s.chart import CHART as AGENT_CHART
from tests.unit.k8s.chart import LOADER, templated
from tests.unit.k8s.everything import Object

CHART = AGENT_CHART.parent / "genai-pipeline"

LEAST: dict[str, Any] = {"postgresql": {"host": "pg.example.org", "existingSecret": {"name": "dagster-postgresql"}}}
TRYING: dict[str, Any] = {"postgresql": {"forTrying": True, "existingSecret": {"name": "dagster-postgresql"}}}
ROUTED: dict[str, Any] = {
    **LEAST,
    "route": {
        "enabled": True,
        "models": ["weather"],
        "host": "models.example.org",
        "keys": {"existingSecret": "model-keys"},
        "ingress": {"enabled": True, "className": "alb", "tlsSecret": "models-tls", "annotations": {"a": "b"}},
    },
}
EVERYTHING: dict[str, Any] = {
    **LEAST,
    "settings": {"GENAI_PROFILE": "eks", "GENAI_MAX_ROLLOUTS": 3, "AWS_REGION": "eu-west-1", "GENAI_KMS_KEY": None},
    "modelFiles": {"weather.yaml": "name: weather\n", "suite.yaml": "cases: []\n"},
    "existingSecrets": ["store", "hub"],
    "imagePullSecrets": [{"name": "registry"}],
    "computeLogs": {"bucket": "genai", "endpointUrl": "http://minio.storage.svc:9000"},
    "webserver": {"replicas": 2, "readOnly": True},
    "ingress": {"enabled": True, "host": "dagster.example.org", "className": "alb", "tlsSecret": "tls"},
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/dagster"}},
    "service": {"annotations": {"a": "b"}},
    "networkPolicy": {
        "database": [{"ipBlock": {"cidr": "10.0.0.0/16"}}],
        "extraEgress": [{"ports": [{"protocol": "TCP", "port": 25}]}],
    },
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
}
"""Every value that makes a difference, set; `TRYING` has the rest."""


def of_pipeline(values: dict[str, Any], *more: str, name: str = "dagster") -> list[Object]:
    return templated(values, *more, name=name, chart=CHART)


def refusal(values: dict[str, Any]) -> str:
    """Why helm does not take the values; empty where it does."""
    try:
        of_pipeline(values)
    except ValueError as error:
        return str(error)
    return ""


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def instance_config(values: dict[str, Any]) -> Object:
    """What stands in dagster.yaml."""
    text = one(of_pipeline(values), "ConfigMap", "dagster-genai-pipeline")["data"]["dagster.yaml"]
    return yaml.load(text, LOADER)
