"""Every object that we ever render, for the profiles and models that differ in it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

from genai_pipeline.core.model_file import parse_model
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import (
    PORTS,
    render_agent,
    render_chat_ui,
    render_engine,
    render_guards,
    render_monitoring,
    render_node_pools,
    render_platform,
    render_rbac,
    render_stable,
    render_store_access,
    service_url,
)
from genai_pipeline.k8s.templating import render_template
from tests.fakes.world import PROFILE

Object = dict[str, Any]

SMALL = parse_model("name: tiny\nsource: {hub: a/b}\nserving: {args: {max-model-len: 64}}\n", "f")
LARGE = parse_model(
    """
name: large
source: {hub: a/b}
serving:
  gpu:
    instance-family: g6e
    count: 2
    reservation: optional
    reservation-terms: [{id: cr-0123abcd}, {tags: {team: ml}}]
  replicas: {min: 1, max: 4}
  resources: {cpu: 4, memory_gib: 24}
""",
    "f",
)
RESERVED = parse_model(
    "name: reserved\nsource: {hub: a/b}\n"
    "serving: {gpu: {instance-family: p5, reservation: required, reservation-terms: [{id: cr-0123abcd}]}}\n",
    "f",
)
MODELS = (SMALL, LARGE, RESERVED)

PROFILES = {
    "local": PROFILE,
    "kubernetes": dataclasses.replace(PROFILE, name="kubernetes", s3_endpoint="http://s3.store.svc:9000"),
    "eks": dataclasses.replace(
        PROFILE,
        name="eks",
        image_registry="registry.example/team/",
        api_server_cidrs=("10.1.0.0/16",),
        agent_replicas=3,
        agent_replicas_max=6,
        otlp_endpoint="http://collector.monitoring.svc:4318",
        node_role="node-role",
        eks_cluster="cluster",
    ),
}


def release_of(spec: ModelSpec) -> Release:
    return Release.of(spec, "a" * 40)


def everything(profile: Profile) -> list[Object]:
    """All of it, but for the Secret; a copy of one's own."""
    return copy.deepcopy(_everything(profile))


@cache
def _everything(profile: Profile) -> list[Object]:
    return [
        *render_rbac(profile),
        *render_platform(profile),
        *render_node_pools(profile, MODELS),
        *render_monitoring(profile),
        *(o for spec in MODELS for o in of_release(spec, profile)),
        *render_chat_ui(profile, {"tiny": service_url("tiny", "engine", profile)}),
        *probes(profile),
    ]


def of_release(spec: ModelSpec, profile: Profile) -> Iterator[Object]:
    release = release_of(spec)
    yield from render_engine(spec, release, profile)
    yield from render_agent(spec, release, profile, service_url(release.object_name, "engine", profile))
    for component in PORTS:
        yield from render_stable(release, profile, component)
    yield from render_guards(release, profile)


def probes(profile: Profile) -> Iterator[Object]:
    """The pods that prove the GPU fence: one without a GPU and its toleration, one with both."""
    selector = {"karpenter.sh/nodepool": "gpu"}
    for name, gpus in (("fence", 0), ("gpu", 1)):
        values = {"name": f"probe-{name}", "probe": name, "gpus": gpus, "node_selector": selector, "deadline_s": 60}
        yield from render_template("probe_pod.yaml", profile, **values)


def secret(profile: Profile) -> Object:
    return render_store_access(profile, "key", "secret")[0]


def pod_of(manifest: Object) -> Object | None:
    """The pod spec of what makes pods, else None."""
    if manifest["kind"] == "Pod":
        return manifest["spec"]
    return manifest["spec"]["template"]["spec"] if manifest["kind"] == "Deployment" else None
