"""What the GPUs of a candidate did during the load, and what held them back. Pure.

A busy GPU reaches its power cap, so that is a fact about the figures. Heat and a power brake are faults: with them a
gate that was missed says nothing about the release.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from genai_pipeline.core.clock_reasons import SERIES, Reason, reasons_in
from genai_pipeline.gateways.metrics.abc import GpuReading

NOT_READ = "Not measured: what the GPUs did under load. No reading falls into the load."
NO_MASK = f"Not measured: whether something held the GPUs back. {SERIES[0]} is not exported."


@dataclass(frozen=True)
class HeldBack:
    """One cause on one GPU, in `times` of `readings`."""

    gpu: str
    reason: Reason
    times: int
    readings: int

    def said(self, only_one: bool) -> str:
        who = "The GPU" if only_one else self.gpu
        return f"{who} was held back by {self.reason.named} in {self.times} of {self.readings} readings"


def gpu_rows(readings: Sequence[GpuReading]) -> list[dict[str, Any]]:
    """Return a flat dict for each GPU. A figure that was never read is None."""
    rows: list[dict[str, Any]] = []
    for gpu, mine in _by_gpu(readings).items():
        held = [h for h in held_back(mine) if h.gpu == gpu]
        masked = any(r.clock_reasons is not None for r in mine)
        causes = ", ".join(f"{h.reason.name} in {h.times} of {h.readings}" for h in held)
        rows.append({
            "gpu": gpu,
            "readings": len(mine),
            "utilisation_p50_percent": _of(median, [r.utilisation_percent for r in mine]),
            "power_max_w": _of(max, [r.power_w for r in mine]),
            "power_limit_w": _of(max, [r.power_limit_w for r in mine]),
            "sm_clock_min_mhz": _of(min, [r.sm_clock_mhz for r in mine]),
            "sm_clock_max_mhz": _of(max, [r.sm_clock_mhz for r in mine]),
            "memory_max_gib": _of(max, [r.memory_gib for r in mine]),
            "temperature_max_c": _of(max, [r.temperature_c for r in mine]),
            "held_back_by": causes or ("nothing" if masked else "not measured"),
        })  # fmt: skip
    return rows


def held_back(readings: Sequence[GpuReading]) -> list[HeldBack]:
    """Return each cause on each GPU, faults first."""
    found: list[HeldBack] = []
    for gpu, mine in _by_gpu(readings).items():
        masks = [r.clock_reasons for r in mine if r.clock_reasons is not None]
        reasons = {reason: None for mask in masks for reason in reasons_in(mask)}
        found += [HeldBack(gpu, r, sum(bool(mask & r.bit) for mask in masks), len(masks)) for r in reasons]
    return sorted(found, key=lambda h: (not h.reason.is_fault, -h.times, h.gpu))


def throttling(readings: Sequence[GpuReading]) -> str:
    """Return in sentences what held the GPUs back, or that nothing did, or that it was not measured."""
    if not readings:
        return NOT_READ
    masked = [r for r in readings if r.clock_reasons is not None]
    missing = [] if {r.gpu for r in masked} == {r.gpu for r in readings} else [NO_MASK]
    if found := held_back(readings):
        said = "; ".join(h.said(len(_by_gpu(readings)) == 1) for h in found)
        warning = "Warning: " if any(h.reason.is_fault for h in found) else ""
        return " ".join([f"{warning}{said}; tokens/s are those of a throttled GPU.", *missing])
    return " ".join([*([f"Nothing held them back in {len(masked)} readings under load."] if masked else []), *missing])


def slowed_by_fault(readings: Sequence[GpuReading]) -> str:
    """Return which fault slowed a GPU down, or an empty text. A gate that was missed then proves nothing."""
    return next((h.said(False) for h in held_back(readings) if h.reason.is_fault), "")


def _by_gpu(readings: Sequence[GpuReading]) -> dict[str, list[GpuReading]]:
    found: dict[str, list[GpuReading]] = {}
    for reading in readings:
        found.setdefault(reading.gpu, []).append(reading)
    return found


def _of(choose: Callable[[Sequence[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(choose(known), 1) if known else None
