"""Render the templates into Kubernetes objects. Same input, same objects, in a stable order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_spec import ModelSpec, Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release

ENGINE_PORT = 8000
AGENT_PORT = 8080
PORTS = {"engine": ENGINE_PORT, "agent": AGENT_PORT}
AGENT_REPLICAS = 1
RELEASE_LABEL = "genai-pipeline/release"
MANAGED_BY = {"app.kubernetes.io/managed-by": "genai-pipeline"}

Objects = list[dict[str, Any]]


def release_labels(release: Release, component: str) -> dict[str, str]:
    """The labels that pick one component of one release, and nothing else."""
    return {
        "app.kubernetes.io/name": release.model,
        "app.kubernetes.io/component": component,
        RELEASE_LABEL: release.id,
    }


def weights_url(profile: Profile, release: Release) -> str:
    """What the engine is told to load: the staged model's prefix, with its trailing slash."""
    return f"s3://{profile.bucket}/{staged_prefix(release.model, release.revision)}"


def release_alias(release: Release) -> str:
    """A second model name that only this release serves: how an answer behind a stable address is told apart."""
    return f"{release.model}@{release.id}"


def render_engine(spec: ModelSpec, release: Release, profile: Profile, replicas: int | None = None) -> Objects:
    """Deployment and Service of a release's engine."""
    serving = spec.serving
    values = {
        "serving": serving,
        "replicas": serving.replicas.min if replicas is None else replicas,
        "engine_args": engine_args(serving, release, profile),
        "requests": _requests(serving),
        "limits": _limits(serving),
    }
    return _render("engine_deployment.yaml", release, profile, values) + _release_service(release, profile, "engine")


def render_agent(release: Release, profile: Profile, model_url: str) -> Objects:
    """Deployment and Service of a release's agent; `model_url` reaches that release's engine."""
    values = {
        "replicas": AGENT_REPLICAS,
        "agent_image": f"genai-pipeline/strands-agent:{package_version()}",
        "model_url": model_url,
    }
    return _render("agent_deployment.yaml", release, profile, values) + _release_service(release, profile, "agent")


def stable_name(model: str, component: str) -> str:
    """Name of the Service that users know."""
    return model if component == "engine" else f"{model}-{component}"


def render_stable(release: Release, profile: Profile, component: str) -> Objects:
    """The stable Service of a component, with its traffic on `release`."""
    values = {
        "name": stable_name(release.model, component),
        "component": component,
        "port": PORTS[component],
    }
    return _render("stable_service.yaml", release, profile, values)


def render_namespace(profile: Profile) -> Objects:
    return _render("namespace.yaml", None, profile, {})


def render_store_access(profile: Profile, key_id: str, secret: str) -> Objects:
    """The Secret that engines read S3 with where there is no Pod Identity. Never written to files."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "store-access", "namespace": profile.namespace, "labels": MANAGED_BY},
            "type": "Opaque",
            "stringData": {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret},
        }
    ]


def render_node_pools(profile: Profile, specs: Sequence[ModelSpec]) -> Objects:
    """The system, general and GPU pools; the GPU pool offers what the models ask for, with room for a surge."""
    gpus = [s.serving.gpu for s in specs if s.serving.gpu]
    peak = sum(s.serving.gpu.count * s.serving.replicas.max for s in specs if s.serving.gpu)
    surge = max((s.serving.gpu.count * s.serving.replicas.min for s in specs if s.serving.gpu), default=0)
    values = {
        "gpu_families": sorted({gpu.instance_family for gpu in gpus} or {"g6e"}),
        "gpu_limit": max(2, peak + surge),
    }
    return _render("node_pools.yaml", None, profile, values)


def render_chat_ui(profile: Profile, models: Mapping[str, str]) -> Objects:
    """The chat page; `models` maps a model's name to the base address of its stable endpoint."""
    return _render("chat_ui.yaml", None, profile, {"models": dict(models), "version": package_version()})


def engine_args(serving: Serving, release: Release, profile: Profile) -> list[str]:
    """vLLM's command line: what the pipeline owns first, then the model file's args by name."""
    own = [
        f"--model={weights_url(profile, release)}",
        "--served-model-name",
        release.model,
        release_alias(release),
        "--host=$(POD_IP)",
        f"--port={ENGINE_PORT}",
    ]
    return own + [_flag(name, value) for name, value in sorted(serving.args.items()) if value is not False]


def _flag(name: str, value: object) -> str:
    if value is True:
        return f"--{name}"
    return f"--{name}={value if isinstance(value, str) else json.dumps(value)}"


def _requests(serving: Serving) -> dict[str, str]:
    requests = {"cpu": f"{serving.resources.cpu:g}", "memory": f"{serving.resources.memory_gib:g}Gi"}
    return requests | _limits(serving) if serving.gpu else requests


def _limits(serving: Serving) -> dict[str, str]:
    return {"nvidia.com/gpu": str(serving.gpu.count)} if serving.gpu else {}


def _release_service(release: Release, profile: Profile, component: str) -> Objects:
    name = release.object_name if component == "engine" else release.agent_object_name
    return _render(
        "release_service.yaml", release, profile, {"name": name, "component": component, "port": PORTS[component]}
    )


def _render(template: str, release: Release | None, profile: Profile, values: Mapping[str, Any]) -> Objects:
    def selector(component: str) -> str:
        return json.dumps(release_labels(release, component) if release else {})

    def labels(component: str) -> str:
        return json.dumps((release_labels(release, component) if release else {}) | MANAGED_BY)

    text = (
        _environment()
        .get_template(template)
        .render(release=release, profile=profile, selector=selector, labels=labels, **values)
    )
    return [document for document in yaml.safe_load_all(text) if document]


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # only what renders needs it

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined)
    # Jinja's own tojson escapes for HTML, which would put \u0026 into arguments.
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


@cache
def package_version() -> str:
    return version("genai-pipeline")
