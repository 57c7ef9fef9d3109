"""Kubernetes quantities as numbers. Pure. Source: Kubernetes documentation, "Resource Management: units"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GIB = 2**30
_SUFFIXES = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)
}


def quantity(written: str | int | float) -> float:
    """`500m` is 0.5, `4Gi` is 4294967296, `2` is 2. Raises: ValueError."""
    text = str(written)
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * _SUFFIXES[suffix]
    return float(text)


def requested(pod: Mapping[str, Any]) -> dict[str, float]:
    """What a pod's containers request together by resource; a limit without a request is its own request."""
    total: dict[str, float] = {}
    for container in pod.get("containers", []):
        resources = container.get("resources") or {}
        for name, amount in ((resources.get("limits") or {}) | (resources.get("requests") or {})).items():
            total[name] = total.get(name, 0.0) + quantity(amount)
    return total
