"""Judge the health of the GPUs that a candidate ran on: the check `gpu_health`. Pure.

Source: NVIDIA documentation, "Xid Errors", and its Xid catalog. DCGM exports the code of the last Xid of a GPU. The
code stays until the exporter or the driver starts again, so an old one says nothing about this load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.metrics.abc import GpuReading
from genai_pipeline.loadtest.gpu_load import gpu_rows, throttling
from genai_pipeline.loadtest.measurement import Measurement

NO_GPU = "no NVIDIA GPU: not applicable. DCGM knows no others, and the health of others is not measured"
NO_COUNT = (
    "the count of uncorrectable memory errors is not exported. DCGM_FI_DEV_ECC_DBE_VOL_TOTAL is not among the default "
    "counters of dcgm-exporter; deploy/observability/dcgm-exporter.yaml has it"
)
HARDWARE_XIDS: Mapping[int, str] = {
    46: "the GPU stopped processing",
    48: "double-bit ECC error",
    62: "internal micro-controller halted",
    63: "row remapping or page retirement",
    64: "row remapping or page retirement failed",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "high rate of single-bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error",
    119: "GSP firmware did not answer",
    120: "GSP firmware error",
    121: "C2C link error",
    140: "ECC error that was not recovered",
    143: "the GPU was not initialized",
    145: "NVLink error",
    149: "NVLink error",
}
"""Codes that mean the hardware. Others, such as 13, 31, 43 and 45, are what any program on the GPU causes."""


def gpu_health(m: Measurement) -> Verdict:
    """Fail for a hardware Xid that came with the load, an uncorrectable memory error, or a failed row remap.

    What held the clocks back is part of what it says, and no reason to fail.
    """
    if not m.has_gpu:
        return passed("gpu_health", NO_GPU)
    if not m.gpus:
        return inconclusive("gpu_health", f"The GPUs could not be asked: {m.gpu_error or 'none was found'}")
    verdict = _health(m, m.gpus)
    said = f"{verdict.summary.rstrip('.')}. {throttling(m.gpu_readings)}"
    return replace(verdict, summary=said, evidence={**verdict.evidence, "under_load": gpu_rows(m.gpu_readings)})


def _health(m: Measurement, gpus: Sequence[GpuReading]) -> Verdict:
    before = None if m.gpus_before is None else {g.gpu: g.xid_error for g in m.gpus_before}
    table = [_row(gpu) for gpu in gpus]
    sick = [why for gpu in gpus if (why := _why_sick(gpu, before))]
    unclear = [g for g in gpus if g.xid_error in HARDWARE_XIDS and (before is None or g.gpu not in before)]
    if sick:
        return failed("gpu_health", f"{len(sick)} of {len(gpus)} GPUs are not healthy: {'; '.join(sick)}.", gpus=table)
    if uncounted := [g.gpu for g in gpus if g.double_bit_errors is None]:
        return inconclusive("gpu_health", f"{', '.join(uncounted)}: {NO_COUNT}", gpus=table)
    if unclear:
        said = "; ".join(f"{g.gpu} reports Xid {g.xid_error} ({HARDWARE_XIDS[g.xid_error]})" for g in unclear)
        why = "No reading from before the load tells whether it came with the load."
        return inconclusive("gpu_health", f"{said}. {why}", gpus=table)
    who = "The GPU is" if len(gpus) == 1 else f"{len(gpus)} GPUs are"
    return passed("gpu_health", f"{who} healthy.{_older(gpus)}", gpus=table)


def _why_sick(gpu: GpuReading, before: Mapping[str, int] | None) -> str:
    """Return why a GPU failed, or an empty text if it did not, or if nothing proves it."""
    xid = gpu.xid_error
    if xid in HARDWARE_XIDS and before is not None and before.get(gpu.gpu, xid) != xid:
        return f"{gpu.gpu} reported Xid {xid} ({HARDWARE_XIDS[xid]}) during the load"
    if gpu.double_bit_errors:
        return f"{gpu.gpu} has {gpu.double_bit_errors} double-bit errors"
    if gpu.row_remap_failures:
        return f"{gpu.gpu} has no spare rows left and has to be replaced"
    return ""


def _older(gpus: Sequence[GpuReading]) -> str:
    """Return a sentence about Xids that do not count, or an empty text without any."""
    said = [f"{g.gpu} Xid {g.xid_error}" for g in gpus if g.xid_error]
    return f" Not counted, because older than the load or caused by a program: {', '.join(said)}." if said else ""


def _row(gpu: GpuReading) -> dict[str, str | int | float | None]:
    return {
        "gpu": gpu.gpu,
        "xid": gpu.xid_error,
        "double_bit_errors": gpu.double_bit_errors,
        "row_remap_failures": gpu.row_remap_failures,
        "temperature_c": gpu.temperature_c,
    }
