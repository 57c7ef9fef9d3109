"""Where an engine with a GPU may run: the labels of its nodes, the taints that it tolerates, what it requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.core.gpu_nodes import EKS_FAMILY, NVIDIA_GPU
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.profile import Profile

CAPACITY_TYPE = "karpenter.sh/capacity-type"


def node_selector(gpu: Gpu | None, profile: Profile) -> dict[str, str]:
    """Return the labels that a node for the engine must have."""
    if gpu is None:
        return {}
    return ({EKS_FAMILY: gpu.instance_family} if profile.has_eks_nodes else {}) | gpu.selector


def tolerations(gpu: Gpu | None) -> list[dict[str, Any]]:
    """Return the taints that the engine tolerates: those that GPU nodes usually have, and those of the model file.

    The usual taint has the name of the resource. Nodes with slices of NVIDIA GPUs have the one of whole GPUs as well.
    """
    if gpu is None:
        return []
    usual = dict.fromkeys([NVIDIA_GPU, gpu.resource] if gpu.is_nvidia else [gpu.resource])
    own = [{"operator": t.operator} | t.model_dump(exclude_defaults=True) for t in gpu.tolerations]
    return [*({"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in usual), *own]


def affinity(gpu: Gpu | None, together: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return which nodes the engine needs or prefers: those of a capacity reservation, and those near each other.

    Args:
        together: labels of pods that hold one replica between them. They prefer one zone.
    """
    found: dict[str, Any] = {}
    reserved = {"matchExpressions": [{"key": CAPACITY_TYPE, "operator": "In", "values": ["reserved"]}]}
    if gpu and gpu.reservation == "required":
        terms = {"nodeSelectorTerms": [reserved]}
        found["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    elif gpu and gpu.reservation == "optional":
        # A preference, since a node is relabelled on-demand when its reservation ends.
        found["nodeAffinity"] = {
            "preferredDuringSchedulingIgnoredDuringExecution": [_preferred("preference", reserved)]
        }
    if together:
        zone = {"topologyKey": "topology.kubernetes.io/zone", "labelSelector": {"matchLabels": dict(together)}}
        near = [_preferred("podAffinityTerm", zone)]
        found["podAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": near}
    return found


def _preferred(name: str, term: Mapping[str, Any]) -> dict[str, Any]:
    return {"weight": 100, name: term}


def gpu_in_words(gpu: Gpu, profile: Profile) -> str:
    """Return what a replica needs of a node, as `1 GPU of g6e` on EKS and `1 nvidia.com/gpu` elsewhere."""
    further = "".join(f", {key}: {value}" for key, value in gpu.selector.items())
    if profile.has_eks_nodes and gpu.resource == NVIDIA_GPU:
        return f"{gpu.count} GPU of {gpu.instance_family}{further}"
    return f"{gpu.count} {gpu.resource}{further}"


def gpu_resources(gpu: Gpu | None) -> dict[str, str]:
    """Return what one replica requests of the node's device plugin."""
    return {gpu.resource: str(gpu.count)} if gpu else {}
