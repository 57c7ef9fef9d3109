"""The names of GPUs' figures, as dcgm-exporter has them, and what a source's samples say of each GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from genai_pipeline.core.clock_reasons import SERIES as CLOCK_REASONS
from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import GpuReading, Sample

REQUIRED = "DCGM_FI_DEV_XID_ERRORS"
_ECC, _ROWS = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "DCGM_FI_DEV_ROW_REMAP_FAILURE"
_TEMPERATURE, _UTILISATION = "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_UTIL"
_POWER, _POWER_LIMIT = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_POWER_MGMT_LIMIT"
_SM_CLOCK, _MEMORY = "DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_FB_USED"
NAMES = (
    REQUIRED, _ECC, _ROWS, _TEMPERATURE, _UTILISATION, _POWER, _POWER_LIMIT, _SM_CLOCK, _MEMORY, *CLOCK_REASONS,
)  # fmt: skip
MIB_PER_GIB = 1024


def readings_of(samples: Iterable[Sample], scraped: Iterable[Sample], where: str) -> list[GpuReading]:
    """Return what is known of each GPU.

    Args:
        samples: of the names in NAMES.
        scraped: when each GPU was scraped, by the labels of REQUIRED.
        where: the source, for errors.
    Raises: EngineUnavailable: there is no GPU, or the Xids of one are not exported.
    """
    found: dict[str, dict[str, float]] = {}
    for name, labels, value in samples:
        found.setdefault(_gpu(labels), {})[name] = value
    if not found or any(REQUIRED not in values for values in found.values()):
        raise EngineUnavailable(
            f"There is no {REQUIRED} at {where}.",
            "Is dcgm-exporter running on the GPU nodes, scraped, and exporting Xid errors?",
        )
    at = {_gpu(labels): value for _, labels, value in scraped}
    return [_reading(gpu, values, at.get(gpu)) for gpu, values in sorted(found.items())]


def _gpu(labels: Mapping[str, str]) -> str:
    host = labels.get("hostname") or labels.get("Hostname", "?")  # renamed after dcgm-exporter 4.5.3
    return labels.get("UUID") or f"{host}/{labels.get('gpu', '?')}"


def _reading(gpu: str, values: Mapping[str, float], at: float | None) -> GpuReading:
    def count(*names: str) -> int | None:
        return next((int(values[name]) for name in names if name in values), None)

    used = values.get(_MEMORY)
    return GpuReading(
        gpu=gpu,
        xid_error=int(values[REQUIRED]),
        double_bit_errors=count(_ECC),
        row_remap_failures=count(_ROWS),
        temperature_c=values.get(_TEMPERATURE),
        at=at,
        utilisation_percent=values.get(_UTILISATION),
        power_w=values.get(_POWER),
        power_limit_w=values.get(_POWER_LIMIT),
        sm_clock_mhz=values.get(_SM_CLOCK),
        memory_gib=None if used is None else used / MIB_PER_GIB,
        clock_reasons=count(*CLOCK_REASONS),
    )
