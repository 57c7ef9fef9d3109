"""Which pods a Prometheus without an operator scrapes, by the pipeline's own PodMonitors."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import render_agent, render_engine, render_monitoring
from genai_pipeline.observability.scrape_targets import targets_of
from tests.fakes.model_texts import model_with_tools

PROFILE = Profile.of({"name": "local"})
SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
RELEASE = Release.of(SPEC, "1" * 40)
EXPRESSION: dict[str, Any] = {"key": "app.kubernetes.io/component", "values": ["engine"]}


def pod(objects: list[dict[str, Any]], phase: str = "Running", **labels: str) -> dict[str, Any]:
    """Return a pod as a Deployment among the objects makes it."""
    (template,) = [o["spec"]["template"] for o in objects if o["kind"] == "Deployment"]
    name = template["metadata"]["labels"]["app.kubernetes.io/name"]
    return {
        "metadata": {
            "name": f"{name}-xyz",
            "namespace": "genai",
            "labels": {**template["metadata"]["labels"], **labels},
        },
        "spec": template["spec"],
        "status": {"phase": phase, "podIP": "127.77.0.5"},
    }


def targets(*pods: dict[str, Any]) -> list[dict[str, Any]]:
    return targets_of(render_monitoring(PROFILE), pods)


def test_an_engine_has_the_labels_by_which_its_metrics_are_asked_for():
    objects = render_engine(SPEC, RELEASE, PROFILE)

    (found,) = targets(pod(objects))

    (service,) = [o for o in objects if o["kind"] == "Service"]
    asked = {"namespace": "genai", "service": service["metadata"]["name"], "model": "tiny", "release": RELEASE.id}
    assert asked.items() <= found["labels"].items()
    assert found["labels"]["pod"] == "tiny-xyz"
    assert found["targets"] == [f"127.77.0.5:{service['spec']['ports'][0]['port']}"]


def test_an_agent_is_scraped_under_the_name_of_its_own_service():
    objects = render_agent(SPEC, RELEASE, PROFILE, "http://tiny")

    (found,) = targets(pod(objects))

    (service,) = [o for o in objects if o["kind"] == "Service"]
    assert found["labels"]["service"] == service["metadata"]["name"]


def test_pods_of_ray_are_scraped_on_their_own_port_and_once():
    spec = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "a/b"}, "serving": {"engine": "ray"}})
    (ray,) = [o for o in render_engine(spec, Release.of(spec, "1" * 40), PROFILE) if o["kind"] == "RayService"]
    template = ray["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
    labels = template["metadata"]["labels"] | {"ray.io/cluster": "tiny-abc"}
    worker = {
        "metadata": {"name": "w", "namespace": "genai", "labels": labels},
        "spec": template["spec"],
        "status": {"phase": "Running", "podIP": "127.77.0.6"},
    }

    (found,) = targets(worker)

    (port,) = [p for c in template["spec"]["containers"] for p in c["ports"] if p["name"] == "metrics"]
    assert found["targets"] == [f"127.77.0.6:{port['containerPort']}"]
    assert found["labels"]["job"] == "genai/genai-ray"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_not_scraped(phase: str):
    assert targets(pod(render_engine(SPEC, RELEASE, PROFILE), phase)) == []


def test_a_pod_without_an_address_is_not_scraped():
    waiting = pod(render_engine(SPEC, RELEASE, PROFILE))
    waiting["status"] = {"phase": "Pending"}

    assert targets(waiting) == []


@pytest.mark.parametrize(
    ("operator", "component", "chosen"),
    [
        ("In", "engine", True),
        ("In", "agent", False),
        ("NotIn", "agent", True),
        ("NotIn", "engine", False),
        ("Exists", "agent", True),
        ("DoesNotExist", "engine", False),
    ],
)
def test_a_selector_means_what_kubernetes_means(operator: str, component: str, chosen: bool):
    monitor = {
        "kind": "PodMonitor",
        "metadata": {"name": "m", "namespace": "genai"},
        "spec": {
            "selector": {"matchExpressions": [{**EXPRESSION, "operator": operator}]},
            "podMetricsEndpoints": [{"port": "http"}],
        },
    }
    one = pod(render_engine(SPEC, RELEASE, PROFILE), **{"app.kubernetes.io/component": component})

    assert bool(targets_of([monitor], [one])) is chosen
