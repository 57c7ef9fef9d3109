"""Our node pools on the cluster with simulated nodes, for the tests of the pools and of capacity."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.cluster.pods import is_ready, quantity
from genai_pipeline.k8s.render import render_engine, render_namespace, render_node_pools
from genai_pipeline.rollout.pools.node_labels import NODE_POOL
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS

Found = TypeVar("Found")

NEEDS = pytest.mark.needs("karpenter", "kwok")
"""Simulated nodes above all: nothing here may buy a GPU."""


def profile_of(namespace: str) -> Profile:
    """EKS's own profile: the pools, labels and NodeClass of the simulated cluster are those of EKS Auto Mode."""
    return replace(EKS, namespace=namespace, probe_gpu="buy")


def model(family: str = "g6e", downtime: bool = False, **gpu: Any) -> ModelSpec:
    asked = ", ".join(f"{key}: {value}" for key, value in {"instance-family": family, **gpu}.items())
    return model_with_tools(
        f"name: big\nsource: {{hub: a/b}}\nrollout: {{allow_downtime: {str(downtime).lower()}}}\n"
        f"serving:\n  gpu: {{{asked}}}\n  resources: {{cpu: 2, memory_gib: 8}}\n",
        "models/big.yaml",
    )


def start_engine(
    cluster: KubernetesCluster, spec: ModelSpec, revision: str, wait: bool = True, profile: Profile | None = None
) -> Release:
    """The engine of a release as the pipeline applies it; with `wait` it runs on a simulated node."""
    release, profile = Release.of(spec, revision * 40), profile or profile_of(cluster.namespace)
    cluster.apply(render_namespace(profile))
    cluster.apply([o for o in render_engine(spec, release, profile) if o["kind"] == "Deployment"])
    if wait:
        cluster.wait_ready(release.object_name, 60)
    return release


def pool(cluster: KubernetesCluster, name: str = "gpu") -> dict[str, Any]:
    return next(o for o in render_node_pools(profile_of(cluster.namespace), [model()]) if o["metadata"]["name"] == name)


def nodes_of(cluster: KubernetesCluster, name: str = "gpu") -> list[dict[str, Any]]:
    return cluster.list("Node", {NODE_POOL: name})


def used_gpus(cluster: KubernetesCluster, name: str) -> int:
    """The GPUs of a pool's nodes by Karpenter's count, which comes a little after the nodes."""
    status = (cluster.get("NodePool", name) or {}).get("status") or {}
    return int(status.get("resources", {}).get("nvidia.com/gpu", 0))


def apply_empty_pools(cluster: KubernetesCluster, objects: list[dict[str, Any]]) -> None:
    """Pools that Karpenter has seen, without the nodes that a test before left.

    Those stand for minutes, and use up limits: then Karpenter's refusals are not final.
    """
    for claim in cluster.list("NodeClaim"):
        cluster.delete("NodeClaim", claim["metadata"]["name"])
    cluster.apply(objects)
    ours = {o["metadata"]["name"] for o in objects if o["kind"] == "NodePool"}
    until(lambda: ours <= _ready_and_empty(cluster), "Karpenter's look at the empty pools")


def _ready_and_empty(cluster: KubernetesCluster) -> set[str]:
    counts = {
        p["metadata"]["name"]: p.get("status", {}).get("resources") or {}
        for p in cluster.list("NodePool")
        if is_ready(p)
    }
    return {name for name, used in counts.items() if not any(quantity(amount) > 0 for amount in used.values())}


def until(found: Callable[[], Found], what: str, deadline_s: float = 40) -> Found:
    """Wait on a condition; what it returned."""
    end = time.monotonic() + deadline_s
    while not (value := found()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.2)
    return value
