"""Facts about pods, each in one place: ready, ended, owned, and what they request. Pure; for both clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.gpu_nodes import NVIDIA_GPU

GIB = 2**30
GPU_SHARE = "gpu-memory-utilization"
"""Argument of vLLM: the share of a GPU's memory that one engine takes."""

Object = Mapping[str, Any]
"""A Kubernetes object, or a part of one, as parsed JSON."""

_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)
}


def quantity(written: str | int | float) -> float:
    """Return a Kubernetes quantity as a number: `500m` is 0.5, `4Gi` is 4294967296.

    `kubernetes.utils.parse_quantity` does the same, and a test compares the two. It is not used here because its import
    loads the whole client (2.5 s of CPU), which the local cluster does not need.

    Raises: ValueError: the text is not a quantity.
    Source: Kubernetes API reference, "Quantity".
    """
    text = str(written)
    for length in (2, 1):
        if text[-length:] in _FACTORS:
            return float(text[:-length]) * _FACTORS[text[-length:]]
    return float(text)


def requests_of(pod_spec: Object) -> dict[str, float]:
    """Return what the scheduler counts for a pod, by resource: cores, bytes, pieces.

    That is all containers and sidecars together, or the largest init container where that is more. A limit without a
    request counts as the request.

    Source: Kubernetes documentation, "Resource Management" and "Sidecar Containers: resource sharing".
    """
    first = pod_spec.get("initContainers") or []
    sidecars = [c for c in first if c.get("restartPolicy") == "Always"]
    total = _sum(_requests(c) for c in [*(pod_spec.get("containers") or []), *sidecars])
    for container in first:
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, 0.0), amount)
    return total


def shares_of_gpus(pod_spec: Object) -> float:
    """Return how many GPUs a pod takes where releases share them: each engine takes its share of each GPU's memory.

    No device plugin gives a GPU of one machine to one pod alone. vLLM takes the share at its start, or ends.
    """
    return sum(_share_of_gpus(container) for container in pod_spec.get("containers") or [])


def requests_together(pods: Iterable[Object]) -> dict[str, float]:
    """Return what several pods request together, by resource. `pods` is their number."""
    pods = list(pods)
    return _sum(requests_of(pod.get("spec") or {}) for pod in pods) | {"pods": float(len(pods))}


def is_of_device(resource: str) -> bool:
    """Return whether a device plugin offers the resource, as it does GPUs: its name has a domain.

    Source: Kubernetes documentation, "Resource Management for Pods and Containers: Extended resources".
    """
    return "/" in resource


def shown(amount: float) -> str:
    """Return an amount for people: large ones, which are bytes, in Gi."""
    return f"{amount / GIB:g}Gi" if amount >= 2**20 else f"{amount:g}"


def condition(obj: Object, kind: str, status: str | None = None) -> Object:
    """Return the object's condition of this type, with this status if one is named; else an empty mapping."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind and status in (None, c["status"])), {})


def is_ready(obj: Object) -> bool:
    """Return whether the condition Ready is True: of a pod, a node or a NodePool."""
    return bool(condition(obj, "Ready", "True"))


def has_ended(pod: Object) -> bool:
    """Return whether all containers of the pod have ended for good; then it holds no resources."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_owned_by(pod: Object, kind: str, name: str) -> bool:
    """Return whether this object is among the pod's owners."""
    return any(
        owner["kind"] == kind and owner["name"] == name for owner in pod["metadata"].get("ownerReferences") or []
    )


@dataclass(frozen=True)
class PodGroup:
    """Pods of one template. `name` is empty where the object has one template only."""

    name: str
    template: Object
    replicas: int


HEAD = "head"
FEWEST_REPLICAS = "genai-pipeline/fewest-replicas"
MOST_REPLICAS = "genai-pipeline/most-replicas"
"""Annotations of a Deployment whose number of replicas an autoscaler chooses: the bounds of the number."""


def bound_of(deployment: Object, annotation: str) -> int | None:
    """Return one of the two bounds, or None for a Deployment that names its number of replicas itself."""
    said = (deployment["metadata"].get("annotations") or {}).get(annotation)
    return int(said) if said else None


def pod_groups(workload: Object) -> list[PodGroup]:
    """Return what pods a Deployment, a Job or a RayService makes, and the most of each. Those that serve come first.

    A multi-host replica of a RayService is several pods.
    """
    spec = workload["spec"]
    if "rayClusterConfig" not in spec:
        most = bound_of(workload, MOST_REPLICAS) or spec.get("replicas", 1)
        return [PodGroup("", spec["template"], most)]
    cluster = spec["rayClusterConfig"]
    workers = [
        PodGroup(g["groupName"], g["template"], g.get("maxReplicas", g.get("replicas", 1)) * g.get("numOfHosts", 1))
        for g in cluster.get("workerGroupSpecs") or []
    ]
    return [*workers, PodGroup(HEAD, cluster["headGroupSpec"]["template"], 1)]


def has_pods(obj: Object) -> bool:
    """Return whether it is an object of a release that makes pods."""
    return obj["kind"] in ("Deployment", "RayService")


def is_of_ray_service(pod: Object, service: str) -> bool:
    """Return whether the pod is a head or a worker of one of the RayService's clusters: `<service>-<5 letters>`."""
    labels = pod["metadata"].get("labels") or {}
    cluster, of_type = labels.get("ray.io/cluster") or "", labels.get("ray.io/node-type")
    return cluster.rsplit("-", 1)[0] == service and of_type in (HEAD, "worker")


def is_head(pod: Object) -> bool:
    """Return whether the pod is the head of a Ray cluster."""
    return (pod["metadata"].get("labels") or {}).get("ray.io/node-type") == HEAD


def is_of_deployment(pod: Object, deployment: str) -> bool:
    """Return whether the pod's ReplicaSet is one of the Deployment's: `<deployment>-<template hash>`.

    The local cluster has no ReplicaSets.
    """
    owners = pod["metadata"].get("ownerReferences") or []
    return is_owned_by(pod, "Deployment", deployment) or any(
        o["kind"] == "ReplicaSet" and o["name"].rsplit("-", 1)[0] == deployment for o in owners
    )


def container_states(pod: Object) -> list[Object]:
    """Return the states of the pod's containers, those of unfinished init containers first."""
    status = pod.get("status") or {}
    first = [c for c in status.get("initContainerStatuses") or [] if not c.get("ready")]
    return [*first, *(status.get("containerStatuses") or [])]


def last_end(container: Object) -> Object:
    """Return how the container last ended, or an empty mapping for a container that never did."""
    return (container.get("lastState") or {}).get("terminated") or container["state"].get("terminated") or {}


def _requests(container: Object) -> dict[str, float]:
    resources = container.get("resources") or {}
    asked = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return {name: quantity(amount) for name, amount in asked.items()}


def _sum(amounts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in amounts:
        for name, amount in one.items():
            total[name] = total.get(name, 0.0) + amount
    return total


def _share_of_gpus(container: Object) -> float:
    option = f"--{GPU_SHARE}="
    said = [word.removeprefix(option) for word in container.get("args") or [] if word.startswith(option)]
    gpus = _requests(container).get(NVIDIA_GPU, 1.0 if said else 0.0)
    return gpus * float(said[-1]) if said else gpus
