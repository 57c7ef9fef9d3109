"""A real S3 (SeaweedFS) for every integration test, started once a session."""

from __future__ import annotations

import os
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from genai_pipeline.local.ports import free_port
from genai_pipeline.local.s3_server import s3_command


@dataclass(frozen=True)
class S3Server:
    """A running S3. `env` is what a child process needs to reach it."""

    endpoint: str
    port: int
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes]

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def settings(self, endpoint: str = "", **others: Any) -> S3Settings:
        """The settings that reach this server, by way of another endpoint if one is given."""
        others = {"access_key": self.access_key, "secret_key": self.secret_key, **others}
        return S3Settings(endpoint or self.endpoint, **others)

    def store(self, bucket: str) -> S3Store:
        return S3Store(bucket, self.settings())


@pytest.fixture(scope="session")
def start_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], S3Server]]:
    """Starts one more S3 with a folder of its own, for tests that break theirs."""
    running: list[subprocess.Popen[bytes]] = []

    def start(home: Path | None = None, port: int | None = None) -> S3Server:
        home = home or tmp_path_factory.mktemp("s3")
        port = port or free_port()
        command = s3_command(home, port, "genai-test", "genai-test-secret")
        with (home / "weed.log").open("ab") as log:
            env = {"PATH": os.environ["PATH"], **command.env}
            process = subprocess.Popen(command.argv, env=env, cwd=home, stdout=log, stderr=log)
        running.append(process)
        _wait_until_ready(command.ready_url, process)
        server = S3Server(command.endpoint, port, "genai-test", "genai-test-secret", process)
        server.store("genai").ensure_bucket()
        return server

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def s3_server(start_s3: Callable[[], S3Server]) -> S3Server:
    return start_s3()


@pytest.fixture
def store(s3_server: S3Server) -> S3Store:
    """An empty bucket of the test's own."""
    store = s3_server.store(f"test-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    return store


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], deadline_s: float = 30) -> None:
    import time

    end = time.monotonic() + deadline_s
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"SeaweedFS is not ready at {url} (exit code {process.poll()}); see weed.log beside its data.")
