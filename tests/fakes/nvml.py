"""NVML without a GPU: the public functions of `pynvml` that the exporter of GPUs asks, with returns of the same shape.

The figures are those of an H200 under 20 streams, as NVML gave them. Xids and replaced rows are made up.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

READS: Mapping[str, Any] = {
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=100, memory=76),
    "nvmlDeviceGetMemoryInfo": {2: SimpleNamespace(used=139_801_395_200, free=10_309_450_752)},
    "nvmlDeviceGetPowerUsage": 576_000,
    "nvmlDeviceGetPowerManagementLimit": 700_000,
    "nvmlDeviceGetTotalEnergyConsumption": 123_456_789,
    "nvmlDeviceGetTemperature": {0: 51},
    "nvmlDeviceGetClockInfo": {1: 1980, 2: 3201},
    "nvmlDeviceGetCurrentClocksEventReasons": 0,
    "nvmlDeviceGetPcieThroughput": {0: 12_800, 1: 55_800},
    "nvmlDeviceGetPcieReplayCounter": 0,
    "nvmlDeviceGetTotalEccErrors": {1: 0},
    "nvmlDeviceGetRemappedRows": (2, 0, 0, 0),
    "nvmlDeviceGetMinorNumber": None,
}
"""Function -> what it returns, or that by its second argument. None: the number of the GPU."""


class NVMLError(Exception):
    """As `pynvml.NVMLError`."""


class NVMLError_Timeout(NVMLError):  # noqa: N801
    """As `pynvml.NVMLError_Timeout`."""


class FakeNvml:
    """Machines with GPUs of one kind.

    Args:
        pids: processes that compute on each GPU.
        refuses: functions that this GPU or driver does not support.
        lost: numbers of GPUs that have fallen off the bus.
    """

    NVMLError, NVMLError_Timeout = NVMLError, NVMLError_Timeout
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 0, 1
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC = 1, 0
    nvmlMemory_v2 = 2  # noqa: N815
    nvmlEventTypeXidCriticalError = 8  # noqa: N815

    def __init__(
        self, pids: Sequence[Sequence[int]] = ((),), refuses: Collection[str] = (), lost: Collection[int] = ()
    ) -> None:
        self.pids, self.refuses, self.lost = pids, refuses, lost
        self.events: queue.Queue[tuple[int, int] | None] = queue.Queue()
        """(GPU, Xid), or None for an error of NVML's."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        answer = READS[name] if name in READS else getattr(type(self), f"_{name}")

        def asked(*args: Any) -> Any:
            if name in self.refuses:
                raise NVMLError("Not Supported")
            if name not in READS:
                return answer(self, *args)
            if answer is None:
                return args[0]
            return answer[args[1]] if isinstance(answer, dict) else answer

        return asked

    def _nvmlInit(self) -> None: ...  # noqa: N802

    def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.pids)

    def _nvmlDeviceGetHandleByIndex(self, at: int) -> int:  # noqa: N802
        if at in self.lost:
            raise NVMLError("GPU is lost")
        return at

    def _nvmlDeviceGetUUID(self, gpu: int) -> str:  # noqa: N802
        return f"GPU-{gpu}"

    def _nvmlDeviceGetName(self, gpu: int) -> str:  # noqa: N802
        return "NVIDIA H200"

    def _nvmlDeviceGetPciInfo(self, gpu: int) -> Any:  # noqa: N802
        return SimpleNamespace(busId=f"00000000:{gpu:02d}:00.0")

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, gpu: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=pid, usedGpuMemory=130 * 2**30) for pid in self.pids[gpu]]

    def _nvmlEventSetCreate(self) -> object:  # noqa: N802
        return object()

    def _nvmlDeviceRegisterEvents(self, gpu: int, kinds: int, events: object) -> None:  # noqa: N802
        assert kinds == self.nvmlEventTypeXidCriticalError

    def _nvmlEventSetWait_v2(self, events: object, timeout_ms: int) -> Any:  # noqa: N802
        try:
            event = self.events.get(timeout=timeout_ms / 1000)
        except queue.Empty:
            raise NVMLError_Timeout("Timeout") from None
        if event is None:
            raise NVMLError("GPU is lost")
        return SimpleNamespace(device=event[0], eventType=8, eventData=event[1])


def written_as_module(folder: Path, name: str = "pynvml", made: str = "FakeNvml()") -> None:
    """Write a module that is such a fake, for another process or for `import_module`."""
    lines = [
        "from tests.fakes.nvml import FakeNvml",
        f"fake = {made}",
        "__getattr__ = lambda name: getattr(fake, name)",
    ]
    (folder / f"{name}.py").write_text("\n".join([*lines, ""]))
