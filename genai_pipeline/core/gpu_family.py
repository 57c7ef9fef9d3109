"""Which family of NVIDIA's GPUs an engine computes on, as far as it is known without asking a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal

from genai_pipeline.core.gpu_nodes import EKS_FAMILY
from genai_pipeline.core.model_spec import Gpu

GpuFamily = Literal["ada", "hopper"]
"""The families that have a default of their own. On all others vLLM chooses."""

OF_EC2: Mapping[str, GpuFamily] = {
    **dict.fromkeys(("g6", "gr6", "g6e"), "ada"),
    **dict.fromkeys(("p5", "p5e", "p5en"), "hopper"),
}
"""EC2 instance family -> family of its GPUs. Source: AWS, "Amazon EC2 Instance Types", Accelerated Computing."""

FAMILY_LABELS = (EKS_FAMILY, "karpenter.k8s.aws/instance-family")
"""Labels with an EC2 instance family."""
TYPE_LABEL = "node.kubernetes.io/instance-type"
"""Label with an instance type. EC2's begins with its family, as p5.48xlarge."""
NAME_LABELS = (
    "nvidia.com/gpu.family",
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "eks.amazonaws.com/instance-gpu-name",
)
"""Labels with the name of a GPU or of its family.

Sources: NVIDIA GPU Feature Discovery, README, "Generated Labels"; Google, "Run GPUs in GKE Standard node pools";
Karpenter, "Scheduling: Well-Known Labels".
"""

_NAMES: Mapping[GpuFamily, str] = {
    "ada": r"ada|l2|l4|l20|l40s?|40[5-9]0",
    "hopper": r"hopper|g?h(20|100|200|800)",
}
"""The words of a name that tell its family. Source: NVIDIA, "CUDA GPU Compute Capability"."""

DRIVER = Path("/proc/driver/nvidia/gpus")


def family_of(gpu: Gpu | None, has_eks_nodes: bool, of_machine: GpuFamily | None) -> GpuFamily | None:
    """Return the family of the GPUs of an engine, or None where it is not known or the GPUs are not NVIDIA's.

    Args:
        gpu: what the model file asks for.
        has_eks_nodes: whether nodes are EKS Auto Mode's, so that the model file names their instance family.
        of_machine: family of the GPUs of the one machine, where there are no nodes.
    """
    if gpu is None or not gpu.is_nvidia:
        return None
    if has_eks_nodes:
        return OF_EC2.get(gpu.instance_family)
    return of_machine or _selected(gpu.selector)


def family_named(name: str) -> GpuFamily | None:
    """Return the family that the name of a GPU tells, as `NVIDIA-H100-80GB-HBM3` or `nvidia-l4`, or None."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((family for family, known in _NAMES.items() if any(re.fullmatch(known, word) for word in words)), None)


@cache
def family_of_machine(driver: Path = DRIVER) -> GpuFamily | None:
    """Return the family of this machine's GPUs, or None where they have several or none. Reads the driver's files."""
    try:
        texts = [path.read_text() for path in sorted(driver.glob("*/information"))]
    except OSError:
        return None
    return _one({family_named(model) for text in texts for model in re.findall(r"^Model:(.*)$", text, re.MULTILINE)})


def _selected(selector: Mapping[str, str]) -> GpuFamily | None:
    of_ec2 = [selector.get(label, "") for label in FAMILY_LABELS] + [selector.get(TYPE_LABEL, "").partition(".")[0]]
    families: Iterator[GpuFamily | None] = chain(
        (OF_EC2.get(family) for family in of_ec2), (family_named(selector.get(label, "")) for label in NAME_LABELS)
    )
    return _one(family for family in families if family)


def _one(families: Iterable[GpuFamily | None]) -> GpuFamily | None:
    """Return the one family, or None where there are several: then what each label says is not sure."""
    several = set(families)
    return several.pop() if len(several) == 1 else None
