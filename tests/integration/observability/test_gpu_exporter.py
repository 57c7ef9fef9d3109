"""The exporter of a laptop's GPUs: as a process, and read by the product through the laptop's Prometheus.

NVML is a fake: this was run on no GPU yet.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.gateways.metrics.abc import GpuReading
from genai_pipeline.gateways.metrics.gpu_exporter_metrics import LaptopEngineReader
from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.ports import free_port
from genai_pipeline.local.prometheus_server import find_prometheus, prometheus_command, prometheus_files
from genai_pipeline.local.service_catalog import services
from genai_pipeline.observability.exporter_site import serving
from genai_pipeline.observability.nvml_series import GpuCollector, Worker, Xids
from tests.fakes.nvml import FakeNvml, written_as_module
from tests.fakes.prometheus import Prometheus, needs_prometheus, until_ready
from tests.integration.observability.conftest import DEADLINE_S, until

PROJECT = Path(__file__).parents[3]
ENGINE = Worker("genai", "weather-a-xyz", "engine")


def test_it_serves_until_it_is_asked_to_end(tmp_path: Path):
    written_as_module(tmp_path)
    port = free_port()
    env = {"PATH": os.environ["PATH"], "GENAI_HOME": str(tmp_path / "h"), "PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    command = [sys.executable, "-m", "genai_pipeline.local.gpu_exporter", "--port", str(port)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        text = until(lambda: answered(port, process))
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()

    assert "DCGM_FI_DEV_XID_ERRORS{" in text
    assert 'modelName="NVIDIA H200"' in text
    assert (process.returncode, said) == (0, "")


def answered(port: int, process: subprocess.Popen[str]) -> str:
    assert process.poll() is None, process.communicate()[0]
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return response.read().decode()
    return ""


def test_without_a_gpu_it_says_so(tmp_path: Path):
    written_as_module(tmp_path, made="FakeNvml(pids=[])")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{PROJECT}"}
    command = [sys.executable, "-m", "genai_pipeline.local.gpu_exporter"]

    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "finds no GPU" in ended.stderr


@contextmanager
def laptop(folder: Path, nvml: FakeNvml) -> Iterator[Prometheus]:
    """Run the laptop's Prometheus beside an exporter whose GPUs work for the engine."""
    ports, port = {"exporter": free_port(), "gpu_exporter": free_port()}, free_port()
    found = find_prometheus(os.environ)
    assert found.program
    for path, text in prometheus_files(folder, ports, [], Profile.of({"name": "local"}), sees_gpus=True).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("scrape_interval: 5s", "scrape_interval: 1s"))
    registry = CollectorRegistry()
    registry.register(GpuCollector(nvml, Xids(nvml), "laptop", lambda: lambda _: ENGINE))
    with ExitStack() as stack:
        stack.enter_context(serving("127.0.0.1", ports["gpu_exporter"], {"/metrics": make_wsgi_app(registry)}))
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(prometheus_command(found.program, folder, port), stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        until_ready(f"http://127.0.0.1:{port}", process, folder / "log")
        yield Prometheus(f"http://127.0.0.1:{port}")


def gpus(prometheus: Prometheus) -> list[GpuReading]:
    """Ask as the load test does about the engine."""
    metrics = PrometheusMetrics(prometheus.url, labels_of=lambda _: {"service": "weather-a"})

    def read() -> list[GpuReading]:
        with suppress(EngineUnavailable):
            return metrics.gpus("http://engine")
        return []

    return until(read)


@needs_prometheus
def test_the_pipeline_reads_the_gpus_of_an_engine_there(tmp_path: Path):
    with laptop(tmp_path, FakeNvml(pids=[[7]])) as prometheus:
        [gpu] = gpus(prometheus)
        assert gpu == GpuReading("GPU-0", 0, 0, 0, 51.0, gpu.at, 100.0, 576.0, 700.0, 1980.0, gpu.memory_gib, 0)
        assert gpu.memory_gib == pytest.approx(130.2, rel=1e-3)
        assert abs(time.time() - (gpu.at or 0)) < DEADLINE_S
        (series,) = prometheus.query("DCGM_FI_DEV_GPU_UTIL")

    assert (series["metric"]["namespace"], series["metric"]["pod"]) == ("genai", "weather-a-xyz")


@needs_prometheus
def test_memory_errors_that_a_gpu_does_not_count_are_not_read_as_none(tmp_path: Path):
    with laptop(tmp_path, FakeNvml(pids=[[7]], refuses={"nvmlDeviceGetTotalEccErrors"})) as prometheus:
        assert [gpu.double_bit_errors for gpu in gpus(prometheus)] == [None]


def test_without_a_prometheus_the_pipeline_asks_the_exporter_itself():
    registry, port = CollectorRegistry(), free_port()
    nvml = FakeNvml(pids=[[7], [8]])
    workers = {7: ENGINE, 8: Worker("genai", "other-b-xyz", "engine")}
    registry.register(GpuCollector(nvml, Xids(nvml), "laptop", lambda: workers.get))
    reader = LaptopEngineReader(f"http://127.0.0.1:{port}", lambda url: {"service": url}, now=lambda: 5.0)

    with pytest.raises(EngineUnavailable, match="cannot be read"):
        reader.gpus("weather-a")
    with serving("127.0.0.1", port, {"/metrics": make_wsgi_app(registry)}):
        [gpu] = reader.gpus("weather-a")
        with pytest.raises(EngineUnavailable, match="for pods away-"):
            reader.gpus("away")

    assert (gpu.gpu, gpu.at, gpu.power_w, gpu.double_bit_errors, gpu.clock_reasons) == ("GPU-0", 5.0, 576.0, 0, 0)


@pytest.mark.parametrize(
    ("sees_gpu", "version", "starts"), [(True, "3.5.0", True), (False, "3.5.0", False), (True, "2.15.2", True)]
)
def test_genai_up_starts_it_where_there_is_a_gpu_with_and_without_a_prometheus(
    tmp_path: Path, sees_gpu: bool, version: str, starts: bool
):
    (tmp_path / "prometheus").write_text(f"#!/bin/sh\necho 'prometheus, version {version} (branch: x)'\n")
    (tmp_path / "prometheus").chmod(0o755)
    env = {"PATH": str(tmp_path)}

    started = {s.name: s for s in services(Installation(tmp_path / "h"), LOCAL_PORTS, env, lambda: sees_gpu)}
    config = [
        text for service in started.values() for path, text in service.files.items() if "prometheus.yml" in path.name
    ]

    assert ("gpu-exporter" in started) == starts
    assert ["genai/gpu-exporter" in text for text in config] == [starts] * len(config)
