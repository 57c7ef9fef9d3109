"""Templates into Kubernetes objects. Same input, same objects, in a stable order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release

RELEASE_LABEL = "genai-pipeline/release"
MANAGED_BY = {"app.kubernetes.io/managed-by": "genai-pipeline"}
TEMPLATES = Path(__file__).parent / "templates"
STOP_DELAY_S = 5
"""Seconds that a pod goes on serving after it was asked to stop, until no node sends it new connections.

kube-proxy follows a change within about a second; five leave room for a busy API server.
"""

Objects = list[dict[str, Any]]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


def release_labels(release: Release, component: str) -> dict[str, str]:
    """The labels that pick one component of one release, and nothing else."""
    return {
        "app.kubernetes.io/name": release.model,
        "app.kubernetes.io/component": component,
        RELEASE_LABEL: release.id,
    }


def render_template(template: str, profile: Profile, release: Release | None = None, **values: Any) -> Objects:
    """The objects of one file below `templates/`; a value that it needs and is not given is an error."""
    text = _environment().get_template(template).render(_names(profile, release) | values)
    return [document for document in yaml.load_all(text, _LOADER) if document]


def secret_of(profile: Profile, name: str, data: Mapping[str, str]) -> Objects:
    """Return a Secret, which is applied and never written to a file."""
    meta = {"name": name, "namespace": profile.namespace, "labels": MANAGED_BY}
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "stringData": dict(data)}]


def _names(profile: Profile, release: Release | None) -> dict[str, Any]:
    def selector(component: str) -> str:
        return json.dumps(release_labels(release, component) if release else {})

    def labels(component: str) -> str:
        return json.dumps((release_labels(release, component) if release else {}) | MANAGED_BY)

    return {
        "profile": profile,
        "release": release,
        "selector": selector,
        "labels": labels,
        "managed_by": json.dumps(MANAGED_BY),
        "bind_address": bind_address(profile),
        "stop_delay_s": STOP_DELAY_S,
    }


def bind_address(profile: Profile) -> str:
    """Return the address on which a container listens. On one machine each pod has its own: 0.0.0.0 would clash.

    Elsewhere on all, since `kubectl port-forward` comes in through the pod's loopback.
    """
    return "$(POD_IP)" if profile.name == "local" else "0.0.0.0"


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # only what renders needs it

    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined)
    # Jinja's own tojson escapes for HTML, which would put \u0026 into arguments.
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment
