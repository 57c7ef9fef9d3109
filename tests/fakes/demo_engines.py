"""The demo model in a real vLLM, alone and on a real Ray, by the same command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from genai_pipeline.k8s import leaving
from genai_pipeline.local.ports import free_port
from tests.fakes.ray_node import RayNode

DEMO = Path(__file__).parents[2] / "demo/hub/genai-demo/weather-agent/v1"
NAMES = ["--served-model-name", "m", "m@r"]
CPU = ["--enforce-eager", "--dtype=float32"]
CHAT = [
    f"--model={DEMO}",
    *NAMES,
    "--max-model-len=2048",
    "--enable-auto-tool-choice",
    "--tool-call-parser=mistral",
    *CPU,
]
ENV = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
READY_IN_S = 300


@dataclass(frozen=True)
class Running:
    """An engine that answers, and what it consists of."""

    url: str
    processes: Callable[[], list[psutil.Process]]


@contextmanager
def on_ray(command: list[str]) -> Iterator[Running]:
    """Serve by a Ray of one node."""
    with RayNode(env=ENV) as node:
        node.deploy(command, READY_IN_S)
        yield Running(node.url, node.processes)


@contextmanager
def alone(command: list[str], folder: Path) -> Iterator[Running]:
    """Serve by vLLM's own server, as a pod without Ray does."""
    shutil.copy(leaving.__file__, folder / "genai_leaving.py")
    port = free_port()
    own = ["--host=127.0.0.1", f"--port={port}", "--middleware=genai_leaving.Leaving"]
    env = os.environ | ENV | {"PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "engine.log").open("wb") as log:
        started = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *command, *own]
        process = subprocess.Popen(started, env=env | {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "1"}, stdout=log, stderr=log)
    whole = psutil.Process(process.pid)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: httpx.get(f"{url}/v1/models", trust_env=False).is_success, READY_IN_S)
        yield Running(url, lambda: [whole, *whole.children(recursive=True)])
    finally:
        process.terminate()
        process.wait(60)


STARTS: dict[str, Callable[[Path], AbstractContextManager[Running]]] = {
    "vllm": lambda folder: alone(CHAT, folder),
    "ray": lambda folder: on_ray(CHAT),
}


def wait_for(condition: Callable[[], object], deadline_s: float) -> None:
    """Raises AssertionError after the deadline."""
    over = time.monotonic() + deadline_s
    while time.monotonic() < over:
        try:
            if condition():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not come true in time")
