"""GPUs under DCGM's names, by NVML: what is told, what is left out, which pod is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.local.gpu_exporter import containers_in, nvml_of_this_machine, workers_in
from genai_pipeline.observability.nvml_series import COUNTERS, FIGURES, XID, GpuCollector, Worker, Xids
from tests.fakes.nvml import READS, FakeNvml, NVMLError, NVMLError_Timeout, written_as_module
from tests.fakes.world import FakeCluster

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded_metrics" / "dcgm_4_5_3.txt"
CHART = Path(__file__).parents[3] / "deploy" / "observability" / "dcgm-exporter.yaml"
ENGINE = Worker("genai", "weather-a-0", "engine")
ECC = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
Series = Mapping[tuple[str, str], float]
"""(Name, pod) -> value."""


def scraped(nvml: FakeNvml, workers: Mapping[int, Worker] | None = None, xids: Xids | None = None) -> Series:
    return {(name, labels["pod"]): value for name, labels, value in samples(nvml, workers, xids)}


def samples(
    nvml: FakeNvml, workers: Mapping[int, Worker] | None = None, xids: Xids | None = None
) -> list[tuple[str, dict[str, str], float]]:
    registry = CollectorRegistry()
    registry.register(GpuCollector(nvml, xids or Xids(nvml), "laptop", lambda: (workers or {}).get))
    return [(s.name, s.labels, s.value) for family in registry.collect() for s in family.samples]


def test_figures_have_the_units_of_dcgm():
    assert {name: value for (name, _), value in scraped(FakeNvml()).items()} == {
        "DCGM_FI_DEV_GPU_UTIL": 100,
        "DCGM_FI_DEV_MEM_COPY_UTIL": 76,
        "DCGM_FI_DEV_FB_USED": pytest.approx(130.2 * 1024, rel=1e-3),
        "DCGM_FI_DEV_FB_FREE": pytest.approx(9.6 * 1024, rel=1e-3),
        "DCGM_FI_DEV_POWER_USAGE": 576,
        "DCGM_FI_DEV_POWER_MGMT_LIMIT": 700,
        "DCGM_FI_DEV_GPU_TEMP": 51,
        "DCGM_FI_DEV_SM_CLOCK": 1980,
        "DCGM_FI_DEV_MEM_CLOCK": 3201,
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": 0,
        "DCGM_FI_PROF_PCIE_TX_BYTES": 12.8e6,
        "DCGM_FI_PROF_PCIE_RX_BYTES": 55.8e6,
        "DCGM_FI_DEV_ROW_REMAP_FAILURE": 0,
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": 123_456_789,
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": 0,
        ECC: 0,
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS": 2,
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": 0,
        XID: 0,
    }


def test_names_and_labels_are_those_of_dcgm_exporter():
    known = set(re.findall(r"DCGM_FI_\w+", RECORDED.read_text() + CHART.read_text()))
    ours = {figure.name for figure in (*FIGURES, *COUNTERS)} | {XID}
    _, labels, _ = samples(FakeNvml(pids=[[7]]), {7: ENGINE})[0]

    assert ours <= known
    assert labels == {
        "gpu": "0",
        "UUID": "GPU-0",
        "pci_bus_id": "00000000:00:00.0",
        "device": "nvidia0",
        "modelName": "NVIDIA H200",
        "hostname": "laptop",
        "container": "engine",
        "namespace": "genai",
        "pod": "weather-a-0",
    }


@pytest.mark.parametrize("refused", [name for name in READS if name != "nvmlDeviceGetMinorNumber"])
def test_what_a_gpu_does_not_tell_is_left_out_and_all_else_is_there(refused: str):
    everything, told = scraped(FakeNvml()), scraped(FakeNvml(refuses={refused}))

    assert told.keys() < everything.keys()
    assert told.items() <= everything.items()


def test_without_a_count_of_memory_errors_there_is_no_zero():
    assert not [name for name, _ in scraped(FakeNvml(refuses={"nvmlDeviceGetTotalEccErrors"})) if name == ECC]


def test_a_gpu_that_works_for_two_pods_has_the_figures_of_both_and_one_that_is_idle_has_no_pod():
    other = Worker("genai", "weather-b-0", "engine")
    found = samples(FakeNvml(pids=[[7, 8, 9], []]), {7: ENGINE, 8: other, 9: other})

    assert sorted((labels["gpu"], labels["pod"]) for name, labels, _ in found if name == ECC) == [
        ("0", "weather-a-0"),
        ("0", "weather-b-0"),
        ("1", ""),
    ]


def test_a_gpu_that_is_lost_hides_no_other():
    found = samples(FakeNvml(pids=[[], []], lost={0}))

    assert {labels["gpu"] for _, labels, _ in found} == {"1"}


def xids_after(nvml: FakeNvml, *events: tuple[int, int] | None) -> Xids:
    """Let NVML tell events, and then end with an error or, without one, with the thread that is told to stop."""
    xids, stopped = Xids(nvml), threading.Event()
    listening = threading.Thread(target=xids.listen, args=(stopped,), daemon=True)
    for event in events:
        nvml.events.put(event)
    listening.start()
    while not nvml.events.empty() and listening.is_alive():
        listening.join(0.01)
    stopped.set()
    listening.join(10)
    assert not listening.is_alive()
    return xids


def test_the_last_xid_of_each_gpu_is_kept():
    nvml = FakeNvml(pids=[[], []])
    xids = xids_after(nvml, (1, 31), (1, 79))

    found = {labels["gpu"]: value for name, labels, value in samples(nvml, xids=xids) if name == XID}

    assert found == {"0": 0, "1": 79}


@pytest.mark.parametrize("refused", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents"])
def test_where_events_cannot_be_had_no_xid_is_said(refused: str):
    nvml = FakeNvml(refuses={refused})

    assert not [name for name, _ in scraped(nvml, xids=xids_after(nvml)) if name == XID]


def test_once_nvml_tells_no_events_any_more_no_xid_is_said():
    nvml = FakeNvml()

    assert not [name for name, _ in scraped(nvml, xids=xids_after(nvml, None)) if name == XID]


def test_every_function_and_number_of_nvml_that_is_used_exists():
    pynvml = pytest.importorskip("pynvml")
    functions = {*READS, *(name[1:] for name in vars(FakeNvml) if name.startswith("_nvml"))}
    numbers = {name: value for name, value in vars(FakeNvml).items() if re.match(r"NVML_|nvmlEvent", name)}

    assert not [name for name in functions if not callable(getattr(pynvml, name, None))]
    assert {name: getattr(pynvml, name) for name in numbers} == numbers
    assert issubclass(pynvml.NVMLError_Timeout, pynvml.NVMLError)
    assert issubclass(NVMLError_Timeout, NVMLError)


@pytest.mark.parametrize(
    ("nvml", "found"),
    [
        ("FakeNvml()", True),
        ("FakeNvml(pids=[])", False),
        ("FakeNvml(refuses={'nvmlInit'})", False),
        (None, False),
    ],
    ids=["a GPU", "none", "no driver", "not installed"],
)
def test_a_gpu_is_found_where_nvml_knows_one(
    nvml: str | None, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if nvml:
        written_as_module(tmp_path, "nvml_here", nvml)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nvml_here", raising=False)

    assert (nvml_of_this_machine("nvml_here") is not None) == found


def pod_of(pid: int) -> dict[str, Any]:
    """Return a pod as the local cluster writes it once the process runs."""
    status = {"containerStatuses": [{"name": "engine", "containerID": f"process://{pid}"}]}
    return {"kind": "Pod", "metadata": {"name": "weather-a-0", "namespace": "genai"}, "status": status}


def test_a_process_belongs_to_the_container_that_started_it():
    cluster = FakeCluster()
    cluster.list = lambda *_: [pod_of(os.getpid())]  # type: ignore[method-assign]
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert workers_in(cluster)(child.pid) == ENGINE
        assert workers_in(cluster)(1) is None
    finally:
        child.kill()
        child.communicate()
    assert workers_in(cluster)(child.pid) is None


def test_a_cluster_that_does_not_answer_names_no_pod():
    cluster = FakeCluster()

    def away(*_: Any) -> list[Any]:
        raise ClusterUnavailable("It is away.", "")

    cluster.list = away  # type: ignore[method-assign]

    assert workers_in(cluster)(os.getpid()) is None


def test_pods_that_have_not_started_have_no_process():
    assert containers_in([{"metadata": {"name": "a", "namespace": "genai"}}, pod_of(7)]) == {7: ENGINE}
