"""The service `gpu-exporter` of one machine: figures of its NVIDIA GPUs for its Prometheus, in the place of DCGM.

`genai up` starts it beside a Prometheus where NVML finds a GPU. It names the pod that computes on a GPU by the process
that the local cluster started for it. Inside a container NVML has other numbers of processes, so no pod is named there.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil
from prometheus_client import CollectorRegistry, make_wsgi_app

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.local.installation import engines_of
from genai_pipeline.local.ports import HOST
from genai_pipeline.observability.exporter_site import serving
from genai_pipeline.observability.nvml_series import JOB, FindWorker, GpuCollector, Nvml, Worker, Xids

GPU_EXPORTER = JOB
"""The name of the service. Its port is `gpu_exporter`."""
_PROCESS = "process://"


def nvml_of_this_machine(module: str = "pynvml") -> Nvml | None:
    """Return NVML, ready to be asked, where it finds a GPU."""
    try:
        nvml = importlib.import_module(module)
    except ModuleNotFoundError:
        return None
    with suppress(nvml.NVMLError):  # no driver, or none that answers
        nvml.nvmlInit()
        if nvml.nvmlDeviceGetCount():
            return nvml
    return None


def has_gpu() -> bool:
    """Return whether NVML finds a GPU."""
    return nvml_of_this_machine() is not None


def workers_in(cluster: Cluster) -> FindWorker:
    """Return how the container of a process is found, from the pods of now."""
    try:
        started = containers_in(cluster.list("Pod"))
    except GenaiError:  # the figures count without the names, too
        started = {}

    def find(pid: int) -> Worker | None:
        with suppress(psutil.Error):
            family = [pid, *(parent.pid for parent in psutil.Process(pid).parents())]
            return next((started[each] for each in family if each in started), None)
        return None

    return find


def containers_in(pods: Sequence[Mapping[str, Any]]) -> dict[int, Worker]:
    """Return process -> container, as the local cluster writes it into the status of a pod."""
    found: dict[int, Worker] = {}
    for pod in pods:
        meta = pod["metadata"]
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            pid = status.get("containerID", "").removeprefix(_PROCESS)
            if pid.isdigit():
                found[int(pid)] = Worker(meta["namespace"], meta["name"], status["name"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve figures of this machine's GPUs to a Prometheus.")
    parser.add_argument("--port", type=int, default=8596)
    args = parser.parse_args()
    nvml = nvml_of_this_machine()
    if nvml is None:
        raise SystemExit("NVML finds no GPU on this machine. `nvidia-smi -L` lists those that the driver knows.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    cluster, stopped = engines_of(Profile.load(os.environ), os.environ).gateways.cluster, threading.Event()
    xids, registry = Xids(nvml), CollectorRegistry()
    registry.register(GpuCollector(nvml, xids, socket.gethostname(), lambda: workers_in(cluster)))
    try:
        with serving(HOST, args.port, {"/metrics": make_wsgi_app(registry)}):
            xids.listen(stopped)
            stopped.wait()
    except OSError as error:
        raise SystemExit(f"Cannot listen on {HOST}:{args.port}: {error.strerror}. Pass another --port.") from None


if __name__ == "__main__":
    main()
