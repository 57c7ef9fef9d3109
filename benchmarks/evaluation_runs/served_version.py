"""One version of the demo model, served as the product serves it: the real vLLM and the real agent, as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx
import psutil

from genai_pipeline.core.engine_args import command_line
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.local.ports import free_port

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "demo" / "hub" / "genai-demo" / "weather-agent"
NOT_FOR_FOLDERS = ("load-format", "model-loader-extra-config")
"""Arguments of the model file for weights in S3."""
READY_S = 600.0


@dataclass(frozen=True)
class Served:
    """Addresses of one version."""

    version: str
    engine_url: str
    agent_url: str


@contextmanager
def served(version: str, spec: ModelSpec, weather_url: str, logs: Path) -> Iterator[Served]:
    """Start both, wait until they are ready, stop them afterwards.

    Raises: RuntimeError: one ended, or took too long; with the end of its log.
    """
    engine_port, agent_port = free_port(), free_port()
    engine_url = f"http://127.0.0.1:{engine_port}"
    agent_url = f"http://127.0.0.1:{agent_port}"
    serving = spec.serving
    args = command_line({k: v for k, v in serving.args.items() if k not in NOT_FOR_FOLDERS}, serving.image)
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={WEIGHTS / version}"]
    vllm += ["--served-model-name", spec.name, "--host=127.0.0.1", f"--port={engine_port}", *args]
    agent_env = {
        "AGENT_HOST": "127.0.0.1",
        "AGENT_PORT": str(agent_port),
        "MODEL_PROVIDER": "openai",
        "MODEL_BASE_URL": f"{engine_url}/v1",
        "MODEL_ID": spec.name,
        "RELEASE_ID": version,
        "WEATHER_URL": weather_url,
    }
    with (
        _process(vllm, spec.serving.env, logs / f"{version}-engine.log") as engine,
        _process([sys.executable, "-m", "genai_pipeline.agent"], agent_env, logs / f"{version}-agent.log") as agent,
    ):
        _wait(f"{engine_url}/v1/models", engine, logs / f"{version}-engine.log")
        _wait(f"{agent_url}/readyz", agent, logs / f"{version}-agent.log")
        yield Served(version, engine_url, agent_url)


@contextmanager
def _process(command: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process and whatever it starts; all of it is gone afterwards."""
    with log.open("wb") as out:
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | env
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        for child in psutil.wait_procs(family, timeout=10)[1]:
            child.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end, pause = time.monotonic() + READY_S, Event()
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > end:
            what = f"ended with {process.returncode}" if process.poll() is not None else "was not ready in time"
            raise RuntimeError(f"{url}: the process {what}:\n{log.read_text(errors='replace')[-2000:]}")
        pause.wait(0.5)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=20, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
