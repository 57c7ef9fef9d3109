"""Sizes of the node pools, from what the models ask for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genai_pipeline.core.engine_args import workers_per_replica
from genai_pipeline.core.model_spec import Gpu, ModelSpec, Serving
from genai_pipeline.core.profile import Profile

DEFAULT_FAMILY = "g6e"
GPUS_PER_NODE = (1, 4, 8)
"""GPUs of the instance sizes of the g families. Source: EC2 documentation, "Accelerated computing instances"."""
NODE_CLASS = "genai"


def pool_values(profile: Profile, specs: Sequence[ModelSpec]) -> dict[str, Any]:
    """Return what the templates of the pools need."""
    gpus = [s.serving.gpu for s in specs if s.serving.gpu]
    return {
        "gpu_families": sorted({gpu.instance_family for gpu in gpus} or {DEFAULT_FAMILY}),
        "gpu_limit": gpu_limit(specs),
        "node_class": NODE_CLASS if needs_node_class(profile, specs) else "default",
        "reservation_terms": reservation_terms(specs),
    }


def gpu_limit(specs: Sequence[ModelSpec]) -> int:
    """GPUs of the pool: every model at its most replicas, and the largest rollout beside them.

    m/capacity asks for the most replicas of a candidate, too. A node counts with all its GPUs, used or not. Below two
    nodes every surge would wait for ever.
    """
    served = [(_gpus_of_replica(s.serving), s.serving.replicas) for s in specs if s.serving.gpu]
    peak = sum(gpus * replicas.max for gpus, replicas in served)
    surge = max((gpus * replicas.max for gpus, replicas in served), default=0)
    return max(2, peak + surge)


def _gpus_of_replica(serving: Serving) -> int:
    """Return the GPUs of the nodes that one replica takes; with Ray these may be several."""
    return gpus_of_node(serving.gpu) * workers_per_replica(serving) if serving.gpu else 0


def gpus_of_node(gpu: Gpu) -> int:
    """GPUs that a node for one replica brings along."""
    if gpu.instance_family.startswith("p"):
        return -(-gpu.count // 8) * 8
    return next((size for size in GPUS_PER_NODE if size >= gpu.count), gpu.count)


def needs_node_class(profile: Profile, specs: Sequence[ModelSpec]) -> bool:
    """Return whether the pools need their own NodeClass, and the profile says enough to write it."""
    return bool(reservation_terms(specs) and profile.node_role and profile.eks_cluster)


def reservation_terms(specs: Sequence[ModelSpec]) -> list[dict[str, Any]]:
    """The capacity reservations of all models, each term once, as a NodeClass selects them."""
    terms: list[dict[str, Any]] = []
    for spec in specs:
        for term in spec.serving.gpu.reservation_terms if spec.serving.gpu else ():
            written = {name: value for name, value in term.model_dump().items() if value}
            if written not in terms:
                terms.append(written)
    return terms
