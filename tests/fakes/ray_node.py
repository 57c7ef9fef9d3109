"""A real Ray of one node on loopback, on which replicas of `k8s/ray_serving.py` run as in a pod."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from genai_pipeline.k8s.engine import POD_FILES
from genai_pipeline.k8s.ray_service import ENDS_AT_ONCE, SERVING
from genai_pipeline.local.ports import free_port

FAKES = Path(__file__).parent
STUB = {"vllm": "vllm_stub", "server": "openai_server", "asgi_engine": "asgi_engine"}
"""What stands in for vLLM: module -> its file."""


class RayNode:
    """Head and worker in one. `deploy` gives it the engine, `url` is the address of its proxy.

    Args:
        stub: whether the fake engine stands in for vLLM, as in a pod of the tests' image.
        keep_alive_s: after how many seconds without a request its proxy closes a connection.
    """

    def __init__(self, stub: bool = False, env: dict[str, str] | None = None, keep_alive_s: int = 1) -> None:
        self._keep_alive_s = keep_alive_s
        # Sockets lie below it, whose paths may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        for file in (*POD_FILES, SERVING):
            (self.folder / file.name).write_text(file.source)
        for name, file in (STUB if stub else {}).items():
            shutil.copy(FAKES / f"{file}.py", self.folder / f"{name}.py")
        self.url = f"http://127.0.0.1:{free_port()}"
        self._dashboard = f"http://127.0.0.1:{free_port()}"
        self._env = os.environ | {
            "PYTHONPATH": str(self.folder),
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "genai_ray:proxy_middlewares",
            "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.folder),
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(keep_alive_s),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        self._env |= ENDS_AT_ONCE | (env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._gcs = 0

    def __enter__(self) -> RayNode:
        for attempt in (1, 2, 3):  # Ray gives itself 30 s to start, which a busy machine exceeds. KubeRay repeats it
            try:
                self._start()
                return self
            except BaseException as error:
                self._stop()
                if attempt == 3 or not isinstance(error, AssertionError):
                    shutil.rmtree(self.folder, ignore_errors=True)
                    raise
        raise AssertionError

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self._gcs = free_port()
        head = ["--head", "--num-cpus=2", f"--port={self._gcs}", f"--ray-client-server-port={free_port()}"]
        head += [f"--dashboard-port={self._dashboard.rpartition(':')[2]}", f"--temp-dir={self.folder}"]
        self._process = self._ray_start("127.0.0.2", *head)
        self.wait(lambda: httpx.get(f"{self._dashboard}/api/version", trust_env=False).is_success, 120)

    @contextmanager
    def joined(self, resource: str) -> Iterator[None]:
        """Have a second node, which offers one piece of a resource. It is killed when the block ends."""
        address = f"--address=127.0.0.2:{self._gcs}"
        process = self._ray_start("127.0.0.3", address, "--num-cpus=0", f"--resources={json.dumps({resource: 1})}")
        try:
            yield
        finally:
            ours = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            for each in ours:
                each.kill()
            process.wait()

    def _ray_start(self, ip: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={ip}"]
        command += ["--num-gpus=0", "--object-store-memory=100000000", *options]
        # Ray's own range for workers, 10002 to 19999, holds ports that `free_port` gives.
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        # A raylet waits 15 s for the ports of its agent, unless it is given them.
        agent = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port")
        command += [f"--{name}={free_port()}" for name in ("metrics-export-port", *agent)]
        with (self.folder / "ray.log").open("ab") as log:
            return subprocess.Popen(command, env=self._env, stdout=log, stderr=log, start_new_session=True)

    def _stop(self) -> None:
        ours = self.processes()
        for process in ours:
            process.kill()
        psutil.wait_procs(ours, 10)
        if self._process is not None:
            self._process.wait()

    def deploy(self, command: list[str], deadline_s: float = 300, **options: Any) -> None:
        """Serve this engine. Returns when it answers. Raises AssertionError with what Serve says."""
        port = int(self.url.rpartition(":")[2])
        deployment = {"num_replicas": 1, "ray_actor_options": {"num_cpus": 1}, "health_check_period_s": 1} | options
        application = {"name": "engine", "route_prefix": "/", "import_path": "genai_ray:build"}
        config = {
            "proxy_location": "EveryNode",
            "http_options": {"host": "127.0.0.1", "port": port, "keep_alive_timeout_s": self._keep_alive_s},
            "applications": [application | {"args": {"command": command, "deployment": deployment}}],
        }
        address = f"{self._dashboard}/api/serve/applications/"
        self.wait(lambda: httpx.put(address, json=config, timeout=60, trust_env=False).raise_for_status(), 120)
        self.wait(lambda: self.serves(), deadline_s)

    def application(self) -> dict[str, Any]:
        """What Serve says of the engine."""
        said = httpx.get(f"{self._dashboard}/api/serve/applications/", timeout=30, trust_env=False).json()
        return said["applications"]["engine"]

    def processes(self, name: str = "") -> list[psutil.Process]:
        """Those of this node whose command line has `name`."""
        return [p for p in psutil.process_iter() if self._is_ours(p, name)]

    def serves(self) -> bool:
        """Raises AssertionError where Serve has given up."""
        found = self.application()
        assert found["status"] != "DEPLOY_FAILED", [d["message"] for d in found["deployments"].values()]
        return found["status"] == "RUNNING" and httpx.get(f"{self.url}/v1/models", trust_env=False).is_success

    def wait(self, condition: Any, deadline_s: float) -> None:
        """Raises AssertionError after the deadline, with what Ray or Serve says."""
        over = time.monotonic() + deadline_s
        while True:
            try:
                if condition():
                    return
            except (httpx.HTTPError, KeyError) as error:
                ended = self._process is not None and self._process.poll() is not None
                if ended or time.monotonic() > over:
                    raise AssertionError((self.folder / "ray.log").read_text()[-2000:]) from error
            assert time.monotonic() < over, self.application()
            time.sleep(0.1)

    def _is_ours(self, process: psutil.Process, name: str) -> bool:
        try:
            ours = process.environ().get("RAY_TMPDIR") == str(self.folder)
            return ours and name in " ".join(process.cmdline())
        except psutil.Error:
            return False
