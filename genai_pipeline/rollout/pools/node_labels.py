"""The node labels that EKS Auto Mode knows, and their values: what a requirement or a node selector may say. Pure.

Sources: EKS documentation, "Create a node pool for EKS Auto Mode: supported labels" and "Control deployment of
workloads into Capacity Reservations: scheduling labels"; Kubernetes documentation, "Well-Known Labels".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from genai_pipeline.core.gpu_nodes import EKS_FAMILY
from genai_pipeline.gateways.aws.abc import InstanceType, category_of
from genai_pipeline.rollout.pools.instance_types import InstanceTypes, generation_of, packaged

EKS = "eks.amazonaws.com/"
FAMILY = EKS_FAMILY
CATEGORY = f"{EKS}instance-category"
GENERATION = f"{EKS}instance-generation"
SIZE = f"{EKS}instance-size"
CPU = f"{EKS}instance-cpu"
MEMORY = f"{EKS}instance-memory"
GPU_NAME = f"{EKS}instance-gpu-name"
GPU_MANUFACTURER = f"{EKS}instance-gpu-manufacturer"
GPU_COUNT = f"{EKS}instance-gpu-count"
GPU_MEMORY = f"{EKS}instance-gpu-memory"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ARCHITECTURE = "kubernetes.io/arch"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
RESERVATION_ID = f"{EKS}capacity-reservation-id"
NODE_POOL = "karpenter.sh/nodepool"

GPU_LABELS = frozenset({GPU_NAME, GPU_MANUFACTURER, GPU_COUNT, GPU_MEMORY})
"""Only nodes with a GPU carry them."""

NUMBERS = frozenset(
    {GENERATION, CPU, MEMORY, GPU_COUNT, GPU_MEMORY}
    | {EKS + name for name in ("instance-ebs-bandwidth", "instance-network-bandwidth", "instance-local-nvme")}
    | {f"{EKS}instance-cpu-sustained-clock-speed-mhz"}
)
"""Labels whose values are whole numbers; only they can be compared with Gt and Lt."""

_TRUTH = frozenset({"true", "false"})

_VALUES: Mapping[str, frozenset[str]] = {
    GPU_MANUFACTURER: frozenset({"nvidia", "amd"}),
    GPU_COUNT: frozenset({"1", "2", "4", "8"}),
    CAPACITY_TYPE: frozenset({"reserved", "on-demand", "spot"}),
    ARCHITECTURE: frozenset({"amd64", "arm64"}),
    f"{EKS}instance-hypervisor": frozenset({"nitro", "xen"}),
    f"{EKS}instance-cpu-manufacturer": frozenset({"intel", "amd", "aws"}),
    f"{EKS}instance-encryption-in-transit-supported": _TRUTH,
    f"{EKS}instance-capability-flex": _TRUTH,
    f"{EKS}compute-type": frozenset({"auto"}),
    f"{EKS}capacity-reservation-type": frozenset({"default", "capacity-block"}),
    f"{EKS}capacity-reservation-interruptible": _TRUTH,
}
"""Labels with a closed set of values. Those of `instance_types.json` come on top: see `values_of`."""

PATTERNS: Mapping[str, tuple[str, str]] = {
    INSTANCE_TYPE: (r"[a-z]+\d[a-z0-9-]*\.(\d*x?large|medium|metal(-\d+xl)?)", "<family>.<size>, like g6e.2xlarge"),
    SIZE: (r"\d*x?large|medium|metal(-\d+xl)?", "a size that Auto Mode starts, like 2xlarge"),
    RESERVATION_ID: (r"cr-[0-9a-f]+", "a reservation's id, like cr-0123456789abcdef0"),
    "topology.kubernetes.io/zone": (r"[a-z]{2}(-[a-z]+)+-\d+(-[a-z]+-\d+)?[a-z]", "a zone, like us-east-1a"),
    "topology.k8s.aws/zone-id": (r"[a-z]+\d-[a-z0-9]*az\d+", "a zone's id, like use1-az1"),
    "topology.kubernetes.io/region": (r"[a-z]{2}(-[a-z]+)+-\d+", "a region, like us-east-1"),
}
"""Labels whose values have a form: expression, and the form in words."""

INSTANCE_LABELS = GPU_LABELS | {FAMILY, CATEGORY, GENERATION, ARCHITECTURE, INSTANCE_TYPE, SIZE, CPU, MEMORY}
"""Labels that the instance type decides."""

POOL_LABELS = frozenset(_VALUES) | INSTANCE_LABELS | NUMBERS | frozenset(PATTERNS)
"""What a node pool's requirements may use besides labels of its own."""

NODE_LABELS = POOL_LABELS | {NODE_POOL, "kubernetes.io/hostname", "kubernetes.io/os", f"{EKS}nodeclass"}
"""What a pod may select."""

NOT_IN_AUTO_MODE: Mapping[str, str] = {
    "kubernetes.io/os": "EKS Auto Mode runs Linux only and does not take it as a requirement. Leave it out.",
    "node.kubernetes.io/windows-build": "EKS Auto Mode runs Linux only. Leave it out.",
}

OWN_KARPENTER = "karpenter.k8s.aws/"
"""Prefix of the same labels of a self-managed Karpenter. The nodes of Auto Mode do not carry them."""

RESERVED_DOMAINS = (EKS, OWN_KARPENTER, "karpenter.sh/", "kubernetes.io/", "k8s.io/")
"""A pool's own labels are never in these domains. So an unknown label in one of them is misspelt."""

Labels = Mapping[str, str | None]
"""Labels of a node by its instance type. A missing key is not known; None means that the node does not carry it."""

ANY_INSTANCE: Labels = {}
"""The labels of a node of which nothing is known."""


def is_the_providers(label: str) -> bool:
    """Return whether a provider of Karpenter may give its nodes this label, although no pool names it.

    Source: Karpenter documentation, "Scheduling: Well-Known Labels".
    """
    return label.startswith((*RESERVED_DOMAINS, "karpenter.")) or label.partition("/")[0].endswith(".kubernetes.io")


@cache
def values_of(label: str) -> frozenset[str] | None:
    """Return the values that a label can have, or None for a label without a closed set of values."""
    known = packaged("")
    if label == FAMILY:
        return frozenset(known.families)
    if label == CATEGORY:
        return frozenset(map(category_of, known.families))
    if label == GENERATION:
        return frozenset(map(generation_of, known.families))
    if label == GPU_NAME:
        return frozenset(t.gpu for t in known.types if t.gpu)
    return _VALUES.get(label)


def instances(known: InstanceTypes) -> Iterator[tuple[Labels, InstanceType | None]]:
    """Yield the node labels of every type, cheapest first, and of every family without known sizes.

    Where no types are known, it is one node with any labels and of any size.
    """
    if not known.families:
        yield ANY_INSTANCE, None
    for one in known.types:
        yield labels_of(one), one
    for family, architecture in known.families_without_sizes:
        yield _labels_of_family(family, architecture) | dict.fromkeys(GPU_LABELS), None


def labels_of(one: InstanceType) -> Labels:
    """Return the labels of a node of this type."""
    labels = _labels_of_family(one.family, one.architecture) | {
        INSTANCE_TYPE: one.name,
        SIZE: one.name.partition(".")[2],
        CPU: str(one.vcpus),
        MEMORY: str(int(one.memory_gib * 1024)),
    }
    if not one.gpus:
        return labels | dict.fromkeys(GPU_LABELS)
    return labels | {GPU_NAME: one.gpu, GPU_MANUFACTURER: manufacturer_of(one), GPU_COUNT: str(one.gpus)}


def manufacturer_of(one: InstanceType) -> str:
    """Return who made the GPUs of a type, as the label of its nodes names it, or an empty text without a GPU."""
    if not one.gpus:
        return ""
    return "amd" if one.gpu.startswith("radeon") else "nvidia"


def _labels_of_family(family: str, architecture: str) -> dict[str, str | None]:
    return {
        FAMILY: family,
        CATEGORY: category_of(family),
        GENERATION: generation_of(family) or None,
        ARCHITECTURE: architecture,
    }
