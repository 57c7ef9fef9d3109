"""Models on a real Ray with the fake engine in place of vLLM, and the Redis of their heads."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.pods import is_head, is_ready
from genai_pipeline.k8s.render import RELEASE_LABEL
from tests.cluster.lane import KEPT_S, MODEL, Lane
from tests.cluster.machine.cluster import until
from tests.cluster.machine.node import NODE_ADDRESS
from tests.fakes.model_texts import model_with_tools

RATE = 40
"""Requests per second that the clients try: the pods of two Ray clusters start beside them on two cores."""
ENOUGH = 1000
STARTS_S = 600
"""A head that misses Ray's own limit of 30 s starts again."""
TARGET = 2
_FILE = f"""\
name: {MODEL}
source: {{hub: a/b}}
serving:
  engine: ray
  image: test/engine:1
  args: {{fault: token_s=0.03, shutdown-timeout: 2}}
  env: {{VLLM_HTTP_TIMEOUT_KEEP_ALIVE: "{KEPT_S}", PYTHONPATH: "/srv:/etc/genai"}}
  resources: {{cpu: 0.1, memory_gib: 1}}
  startup_deadline_s: {STARTS_S}
  replicas: {{min: %d, max: %d, target_ongoing_requests: {TARGET}, upscale_delay_s: 2, downscale_delay_s: 5}}
rollout: {{drain_deadline_s: 30, watch_minutes: 0}}
"""


def on_ray(least: int = 1, most: int | None = None, **env: str) -> ModelSpec:
    """A model file with so many replicas. `env`: further variables of the pods."""
    spec = model_with_tools(_FILE % (least, most or least), f"models/{MODEL}.yaml")
    serving = spec.serving.model_copy(update={"env": spec.serving.env | env})
    return spec.model_copy(update={"serving": serving})


@contextmanager
def redis(password: str = "") -> Iterator[str]:
    """A Redis outside Ray, which pods reach. Yields its `host:port`."""
    if not shutil.which("redis-server"):
        pytest.skip("the state of a Ray head needs Debian's redis-server")
    with socket.create_server((NODE_ADDRESS, 0)) as held:
        port = held.getsockname()[1]
    settings = {"bind": NODE_ADDRESS, "port": str(port), "protected-mode": "no", "save": "", "requirepass": password}
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _connects(port), "Redis")
        yield f"{NODE_ADDRESS}:{port}"
    finally:
        process.kill()
        process.wait()


def _connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection((NODE_ADDRESS, port), 2):
        return True
    return False


def pods(lane: Lane, of: Release, heads: bool = False) -> list[dict[str, Any]]:
    """Its workers, or its heads: those that are not being deleted."""
    found = lane.cluster.list("Pod", {RELEASE_LABEL: of.id})
    return [p for p in found if "ray.io/node-type" in p["metadata"]["labels"] and is_head(p) is heads and not _ends(p)]


def _ends(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def ready(lane: Lane, of: Release, heads: bool = False) -> set[str]:
    """Names of its workers, or heads, that are ready."""
    return {name_of(pod) for pod in pods(lane, of, heads) if is_ready(pod)}


def name_of(pod: dict[str, Any]) -> str:
    return pod["metadata"]["name"]


def application(lane: Lane, of: Release) -> dict[str, Any]:
    """What Serve says of its application now; empty where no head answers."""
    for head in pods(lane, of, heads=True):
        with suppress(httpx.HTTPError, KeyError):
            url = f"http://{head['status']['podIP']}:8265/api/serve/applications/"
            return httpx.get(url, timeout=5, trust_env=False).json()["applications"]["engine"]
    return {}
