"""GPUs as NVML knows them, under the names and labels of dcgm-exporter: for a machine without one.

What a GPU, its driver or a virtual machine does not tell is left out. Then a gate is inconclusive, where 0 would pass.
Of DCGM's figures `DCGM_FI_PROF_…` only those of PCIe are here. NVML has others for Hopper and later (GPM), by samples.
Source: NVIDIA, "NVML API Reference Guide", as `nvidia-ml-py` has it, and dcgm-exporter 4.5, `etc/default-counters.csv`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from genai_pipeline.core import clock_reasons

Nvml = Any
"""The module pynvml, once `nvmlInit` was called. It has no types."""
LABELS = ("gpu", "UUID", "pci_bus_id", "device", "modelName", "hostname", "container", "namespace", "pod")
UUID = 1
"""Where it is among the labels."""
XID = "DCGM_FI_DEV_XID_ERRORS"
JOB = "gpu-exporter"
WAIT_MS = 1000
MIB = 2**20


@dataclass(frozen=True, order=True)
class Worker:
    """The container whose process computes on a GPU."""

    namespace: str
    pod: str
    container: str


NO_WORKER = Worker("", "", "")
FindWorker = Callable[[int], Worker | None]
"""The id of a process -> the container that it belongs to."""


@dataclass(frozen=True)
class Figure:
    """One series, and how NVML is asked for it."""

    name: str
    text: str
    read: Callable[[Nvml, Any], float]


FIGURES = (
    Figure("DCGM_FI_DEV_GPU_UTIL", "Time with work (%).", lambda n, g: n.nvmlDeviceGetUtilizationRates(g).gpu),
    Figure("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory's (%).", lambda n, g: n.nvmlDeviceGetUtilizationRates(g).memory),
    Figure("DCGM_FI_DEV_FB_USED", "Memory in use (MiB).", lambda n, g: _memory(n, g).used / MIB),
    Figure("DCGM_FI_DEV_FB_FREE", "Free memory (MiB).", lambda n, g: _memory(n, g).free / MIB),
    Figure("DCGM_FI_DEV_POWER_USAGE", "Power (W).", lambda n, g: n.nvmlDeviceGetPowerUsage(g) / 1000),
    Figure("DCGM_FI_DEV_POWER_MGMT_LIMIT", "In W.", lambda n, g: n.nvmlDeviceGetPowerManagementLimit(g) / 1000),
    Figure("DCGM_FI_DEV_GPU_TEMP", "In °C.", lambda n, g: n.nvmlDeviceGetTemperature(g, n.NVML_TEMPERATURE_GPU)),
    Figure("DCGM_FI_DEV_SM_CLOCK", "In MHz.", lambda n, g: n.nvmlDeviceGetClockInfo(g, n.NVML_CLOCK_SM)),
    Figure("DCGM_FI_DEV_MEM_CLOCK", "In MHz.", lambda n, g: n.nvmlDeviceGetClockInfo(g, n.NVML_CLOCK_MEM)),
    Figure(clock_reasons.SERIES[0], "A mask.", lambda n, g: n.nvmlDeviceGetCurrentClocksEventReasons(g)),
    Figure("DCGM_FI_PROF_PCIE_TX_BYTES", "Per second.", lambda n, g: _sent_per_s(n, g, n.NVML_PCIE_UTIL_TX_BYTES)),
    Figure("DCGM_FI_PROF_PCIE_RX_BYTES", "Per second.", lambda n, g: _sent_per_s(n, g, n.NVML_PCIE_UTIL_RX_BYTES)),
    Figure("DCGM_FI_DEV_ROW_REMAP_FAILURE", "1: no row is left.", lambda n, g: n.nvmlDeviceGetRemappedRows(g)[3]),
)
COUNTERS = (
    Figure("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "In mJ.", lambda n, g: n.nvmlDeviceGetTotalEnergyConsumption(g)),
    Figure("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "Retries.", lambda n, g: n.nvmlDeviceGetPcieReplayCounter(g)),
    Figure("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "Uncorrectable errors.", lambda n, g: _lost_bits(n, g)),
    Figure("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "Rows.", lambda n, g: n.nvmlDeviceGetRemappedRows(g)[0]),
    Figure("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "Rows.", lambda n, g: n.nvmlDeviceGetRemappedRows(g)[1]),
)
"""Their names have no `_total`, so no client library may call them counters."""


def _memory(nvml: Nvml, gpu: Any) -> Any:
    """Return free and used bytes. As in DCGM, what the driver reserves (0.6 GiB of an H200) is not in use."""
    return nvml.nvmlDeviceGetMemoryInfo(gpu, nvml.nvmlMemory_v2)


def _sent_per_s(nvml: Nvml, gpu: Any, direction: int) -> float:
    """Return bytes per second, of the last 20 ms. NVML gives kB per second."""
    return nvml.nvmlDeviceGetPcieThroughput(gpu, direction) * 1000


def _lost_bits(nvml: Nvml, gpu: Any) -> int:
    return nvml.nvmlDeviceGetTotalEccErrors(gpu, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)


class Xids:
    """The last Xid of each GPU since this began, 0 without one. NVML tells them as events, and keeps none.

    A GPU whose events NVML does not tell is not among them, and after an error of NVML's no GPU is.
    """

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._last: dict[str, int] = {}
        try:
            self._events = nvml.nvmlEventSetCreate()
        except nvml.NVMLError:
            return
        for _, gpu in gpus_of(nvml):
            with suppress(nvml.NVMLError):
                nvml.nvmlDeviceRegisterEvents(gpu, nvml.nvmlEventTypeXidCriticalError, self._events)
                self._last[nvml.nvmlDeviceGetUUID(gpu)] = 0

    def of(self, uuid: str) -> int | None:
        """Return the code, or None where it is not known."""
        return self._last.get(uuid)

    def listen(self, stopped: threading.Event) -> None:
        """Take events until `stopped` is set, or until NVML does not tell any more."""
        nvml = self._nvml
        while self._last and not stopped.is_set():
            try:
                event = nvml.nvmlEventSetWait_v2(self._events, WAIT_MS)
                self._last[nvml.nvmlDeviceGetUUID(event.device)] = int(event.eventData)
            except nvml.NVMLError_Timeout:
                continue
            except nvml.NVMLError:
                self._last = {}


class GpuCollector(Collector):
    """Asks NVML at each scrape.

    Args:
        workers: asked once for each scrape, because pods come and go.
    """

    def __init__(self, nvml: Nvml, xids: Xids, hostname: str, workers: Callable[[], FindWorker]) -> None:
        self._nvml = nvml
        self._xids = xids
        self._hostname = hostname
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """Yield every figure that at least one GPU tells."""
        find = self._workers()
        named = [(gpu, labels) for at, gpu in gpus_of(self._nvml) for labels in self._labels(at, gpu, find)]
        for family, figures in ((GaugeMetricFamily, FIGURES), (UntypedMetricFamily, COUNTERS)):
            for figure in figures:
                values = [(labels, self._told(figure, gpu)) for gpu, labels in named]
                yield from _with_data(family(figure.name, figure.text, labels=LABELS), values)
        xids = [(labels, self._xids.of(labels[UUID])) for _, labels in named]
        yield from _with_data(GaugeMetricFamily(XID, "The last one since the exporter started.", labels=LABELS), xids)

    def _told(self, figure: Figure, gpu: Any) -> float | None:
        with suppress(self._nvml.NVMLError):
            return float(figure.read(self._nvml, gpu))
        return None

    def _labels(self, at: int, gpu: Any, find: FindWorker) -> list[tuple[str, ...]]:
        """Return the labels of a GPU, once for each container that computes on it; none of a GPU that is lost."""
        nvml = self._nvml
        with suppress(nvml.NVMLError):
            uuid, name, bus = nvml.nvmlDeviceGetUUID(gpu), nvml.nvmlDeviceGetName(gpu), nvml.nvmlDeviceGetPciInfo(gpu)
            of_gpu = (str(at), uuid, bus.busId, f"nvidia{nvml.nvmlDeviceGetMinorNumber(gpu)}", name, self._hostname)
            found = {worker for process in self._processes(gpu) if (worker := find(process.pid))}
            return [(*of_gpu, w.container, w.namespace, w.pod) for w in sorted(found) or [NO_WORKER]]
        return []

    def _processes(self, gpu: Any) -> Sequence[Any]:
        with suppress(self._nvml.NVMLError):
            return self._nvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu)
        return []


def gpus_of(nvml: Nvml) -> Iterator[tuple[int, Any]]:
    """Yield number and handle of each GPU that answers. One that has fallen off the bus has no handle."""
    for at in range(nvml.nvmlDeviceGetCount()):
        with suppress(nvml.NVMLError):
            gpu = nvml.nvmlDeviceGetHandleByIndex(at)
            yield at, gpu


def _with_data(
    family: GaugeMetricFamily | UntypedMetricFamily, values: Sequence[tuple[Sequence[str], float | None]]
) -> Iterator[Metric]:
    for labels, value in values:
        if value is not None:
            family.add_metric(labels, value)
    if family.samples:
        yield family
