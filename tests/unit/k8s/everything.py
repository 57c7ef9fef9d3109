"""Every object that we ever render, for the profiles and models that differ in it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

from genai_pipeline.cli.probe.image_probe import COMMAND, image_uses
from genai_pipeline.cli.probe.pods_probe import probe_job
from genai_pipeline.cli.probe.reach_probe import command, reaches
from genai_pipeline.core.model_spec import Gpu, ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.load_pod import render_load_pod
from genai_pipeline.k8s.placement import gpu_resources, tolerations
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
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import PROFILE

Object = dict[str, Any]

SMALL = model_with_tools("name: tiny\nsource: {hub: a/b}\nserving: {args: {max-model-len: 64}}\n", "f")
LARGE = model_with_tools(
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
RESERVED = model_with_tools(
    "name: reserved\nsource: {hub: a/b}\n"
    "serving: {gpu: {instance-family: p5, reservation: required, reservation-terms: [{id: cr-0123abcd}]}}\n",
    "f",
)
SLICED = model_with_tools(
    """
name: sliced
source: {hub: a/b}
serving:
  gpu:
    resource: nvidia.com/mig-1g.10gb
    selector: {nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB}
    tolerations: [{key: sku, value: gpu, effect: NoSchedule}, {key: dedicated, operator: Exists}]
    runtime-class: nvidia
""",
    "f",
)
SCALED = model_with_tools(
    "name: scaled\nsource: {hub: a/b}\nserving: {engine: ray, gpu: {count: 2}, replicas: {min: 1, max: 4}}\n",
    "f",
)
SPREAD = model_with_tools(
    """
name: spread
source: {hub: a/b}
serving:
  engine: ray
  gpu: {count: 4}
  args: {tensor-parallel-size: 4, pipeline-parallel-size: 2}
  replicas: {min: 2, max: 2}
""",
    "f",
)
MOUNTED = model_with_tools("name: mounted\nsource: {hub: a/b}\nserving: {weights: mount}\n", "f")
PREFETCHED = model_with_tools(
    "name: prefetched\nsource: {hub: a/b}\n"
    "serving: {weights: prefetch, gpu: {count: 2}, resources: {cpu: 8, memory_gib: 48}}\n",
    "f",
)
MODELS = (SMALL, LARGE, RESERVED, SLICED, SCALED, SPREAD, MOUNTED, PREFETCHED)

PROFILES = {
    "local": PROFILE,
    "kubernetes": dataclasses.replace(
        PROFILE,
        name="kubernetes",
        s3_endpoint="http://s3.store.svc:9000",
        weights_mount=True,
        chat="open-webui",
        chat_secret="chat",
        chat_database=True,
    ),
    "eks": dataclasses.replace(
        PROFILE,
        name="eks",
        image_registry="registry.example/team/",
        api_server_cidrs=("10.1.0.0/16",),
        agent_replicas=3,
        agent_replicas_max=6,
        prometheus_url="https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-0a",
        otlp_endpoint="http://collector.monitoring.svc:4318",
        node_role="node-role",
        eks_cluster="cluster",
        weights_mount=True,
        chat="open-webui",
        chat_secret="chat",
        agent_keys_secret="callers",
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
        *(o for spec in MODELS if spec is not MOUNTED or profile.weights_mount for o in of_release(spec, profile)),
        *render_chat_ui(profile, MODELS),
        *(probes(profile) if profile.has_eks_nodes else ()),
        render_load_pod(release_of(SMALL), profile, {"DAGSTER_PIPES_CONTEXT": "eJw="}, 630),
        *(questions(profile) if profile.name != "local" else ()),
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
    for name, gpu in (("fence", None), ("gpu", Gpu())):
        values = {"name": f"probe-{name}", "probe": name, "node_selector": selector, "deadline_s": 60}
        values |= {"gpus": gpu_resources(gpu), "tolerations": tolerations(gpu)}
        yield from render_template("probe_pod.yaml", profile, **values)


def questions(profile: Profile) -> Iterator[Object]:
    """The Jobs of `genai doctor --probe`, of every image and of each kind of pod."""
    uses = image_uses(MODELS, profile)
    for number, use in enumerate(uses):
        asked = {"image": use.image, "command": list(COMMAND), "env": [], "env_from": []}
        yield probe_job(profile, f"genai-doctor-image-{number}", "node-1", use.pod, {}, 60, **asked)
    for one in reaches(uses, profile, asks_hub=True):
        asked = {"image": "agent:1", "command": command(), "env": one.env, "env_from": []}
        yield probe_job(profile, f"genai-doctor-{one.component}", "node-1", one.pod, {}, 60, **asked)


def secret(profile: Profile) -> Object:
    return render_store_access(profile, "key", "secret")[0]


def find_in(objects: list[Object], kind: str, name: str = "") -> Object:
    """The first object of a kind whose name begins so."""
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"].startswith(name))


def templates_of(manifest: Object) -> list[Object]:
    """The pod templates of what makes pods: one of a Deployment or a Job; a RayService's of head and workers."""
    if manifest["kind"] == "RayService":
        cluster = manifest["spec"]["rayClusterConfig"]
        return [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    if manifest["kind"] == "Pod":
        return [manifest]
    return [manifest["spec"]["template"]] if manifest["kind"] in ("Deployment", "Job") else []
