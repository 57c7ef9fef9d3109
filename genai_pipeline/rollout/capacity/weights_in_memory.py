"""Compares the bytes of the weights with the memory that a replica has for them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genai_pipeline.core.engine_args import given
from genai_pipeline.core.model_spec import Gpu, Serving
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.cluster.pods import Object
from genai_pipeline.k8s.engine import GIB, LIMIT_OVER_REQUEST
from genai_pipeline.k8s.prefetch import ENGINE_GIB
from genai_pipeline.rollout.pools.instance_types import InstanceTypes

CHECK = "weights_fit_memory"
GB = 1e9

GPU_GB: Mapping[str, int] = {
    "g4ad": 8, "g4dn": 16, "g5": 24, "g5g": 16, "g6": 24, "g6e": 48, "g7e": 96, "gr6": 24, "p3dn": 32, "p4d": 40,
    "p4de": 80, "p5": 80, "p5e": 141, "p5en": 141, "p6-b200": 179, "p6-b300": 268,
}  # fmt: skip
"""Family -> memory of one of its GPUs in GB. Source: AWS, "Amazon EC2 Instance Types", Accelerated Computing."""

MEMORY_LABEL = "{}.memory"
"""Label of a node with the MiB of one piece of a resource: of a GPU, or of a slice.

Source: NVIDIA GPU Feature Discovery, README, "Generated Labels" and "MIG 'mixed' strategy".
"""

UTILIZATION = 0.92
"""Share of a GPU's memory that vLLM takes. Source: vllm/config/cache.py, `gpu_memory_utilization`."""

LESS_IN_MEMORY = ("quantization", "cpu-offload-gb")
"""Arguments by which the weights take less memory than their files have bytes."""


@dataclass(frozen=True)
class GpuMemory:
    """Memory of one GPU in GB, whose it is, and how many GPUs further replicas of this kind may have."""

    gb: float
    of: str
    counts: Sequence[int] = ()


def memory_of_family(gpu: Gpu, known: InstanceTypes) -> GpuMemory | None:
    """Return the memory of a GPU of this EC2 family, or None for an unknown family."""
    gb = GPU_GB.get(gpu.instance_family)
    counts = sorted({t.gpus for t in known.types if t.family == gpu.instance_family})
    return GpuMemory(gb, gpu.instance_family, counts) if gb else None


def memory_of_nodes(nodes: Sequence[Object], gpu: Gpu) -> GpuMemory | None:
    """Return the smallest memory that the labels of the nodes name, or None where no node that is selected has one."""
    label = MEMORY_LABEL.format(gpu.resource)
    labels: list[Mapping[str, str]] = [node["metadata"].get("labels") or {} for node in nodes]
    named = [of[label] for of in labels if label in of and gpu.selector.items() <= of.items()]
    sizes = [int(text) for text in named if re.fullmatch(r"\d+", text)]
    return GpuMemory(min(sizes) * 1024**2 / GB, f"this cluster (label {label})") if sizes else None


def weights_fit(serving: Serving, weights_bytes: int, dtype: str, memory: GpuMemory | None) -> Verdict:
    """Return whether the weights fit into the memory of one replica, with lines to set where they do not.

    Args:
        weights_bytes: of the files that the engine loads.
        dtype: number format of the weights as config.json says it, or an empty text if it does not.
        memory: of one GPU, or None if it is not known. Not used without a GPU.
    """
    if serving.weights == "prefetch" and (lacking := _no_room_for_copy(serving, weights_bytes)):
        return lacking
    if serving.gpu is None:
        return _in_main_memory(serving, weights_bytes)
    if serving.standby == "sleep" and (judged := _no_room_asleep(serving, weights_bytes)):
        return judged
    if memory is None:
        return inconclusive(
            CHECK, "The memory of the GPUs is not known here, so the weights were not compared with it."
        )
    # vLLM loads float32 weights in 16 bits unless it is asked not to. Source: vllm/config/model.py, "Downcast".
    asked = str(given(serving, "dtype") or "auto")
    halved = dtype == "float32" and asked not in ("float", "float32")
    return _on_gpus(serving, serving.gpu, weights_bytes / (2 if halved else 1), memory)


def _on_gpus(serving: Serving, gpu: Gpu, needed: float, memory: GpuMemory) -> Verdict:
    share = float(given(serving, "gpu-memory-utilization") or UTILIZATION)
    each = memory.gb * GB * share
    said = (
        f"The weights take {needed / GB:.1f} GB. One replica has {gpu.count} × {memory.gb:.0f} GB on GPUs of "
        f"{memory.of}, of which vLLM takes {share:.0%}"
    )
    if needed <= gpu.count * each:
        return passed(CHECK, f"{said}: {(gpu.count * each - needed) / GB:.1f} GB are left for the KV cache.")
    if less := next((name for name in LESS_IN_MEMORY if given(serving, name)), ""):
        return inconclusive(CHECK, f"{said}. They fit only if {less} makes them small enough.")
    enough = next((count for count in memory.counts if needed <= count * each), None)
    if enough is None:
        return failed(CHECK, f"{said}. Take GPUs with more memory, more of them, or smaller weights.")
    return failed(CHECK, f"{said}. Set in the model file:\nserving:\n  gpu:\n    count: {enough}")


def _no_room_asleep(serving: Serving, needed: int) -> Verdict | None:
    """Return a failed verdict where memory does not hold the weights of an engine that sleeps, beside its processes."""
    requested, enough = serving.resources.memory_gib, math.ceil(needed / GIB + ENGINE_GIB)
    if needed / GIB + ENGINE_GIB <= requested:
        return None
    return failed(
        CHECK,
        f"serving.standby: sleep moves {_in_words(needed)} of weights into memory, beside {ENGINE_GIB} GiB for the "
        f"engine, and the pod requests {requested:g} GiB. Set in the model file:\n"
        f"serving:\n  resources:\n    memory_gib: {enough}",
    )


def _in_main_memory(serving: Serving, needed: int) -> Verdict:
    limit = serving.resources.memory_gib * LIMIT_OVER_REQUEST
    said = f"The weights take {_in_words(needed)}, and the pod may use {limit:.1f} GiB"
    if needed <= limit * GIB:
        return passed(CHECK, f"{said}.")
    enough = math.ceil(needed / GIB) + 1
    return failed(CHECK, f"{said}. Set in the model file:\nserving:\n  resources:\n    memory_gib: {enough}")


def _no_room_for_copy(serving: Serving, needed: int) -> Verdict | None:
    """Return a failed verdict where memory does not hold the copy beside the engine: it would be streamed instead.

    Without a GPU the engine loads the weights into the same memory.
    """
    beside = ENGINE_GIB * GIB if serving.gpu else needed
    requested = serving.resources.memory_gib * GIB
    if needed + beside <= requested:
        return None
    enough = math.ceil((needed + beside) / GIB)
    return failed(
        CHECK,
        f"serving.weights: prefetch takes {_in_words(needed)} of memory for the weights and {_in_words(beside)} for "
        f"the engine, and the pod requests {_in_words(int(requested))}. Set serving.weights to stream, or set in the "
        f"model file:\nserving:\n  resources:\n    memory_gib: {enough}",
    )


def _in_words(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"
