"""A real Prometheus for tests, where one is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_pipeline.local.ports import free_port

WITHOUT = "needs the programs of Prometheus (Debian: apt-get install prometheus)"
needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason=f"{WITHOUT}: prometheus is missing")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason=f"{WITHOUT}: promtool is missing")


@dataclass(frozen=True)
class Target:
    """What is scraped, with the labels that a monitor gives it."""

    job: str
    address: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the result. Raises: AssertionError: it refuses the expression."""
        data = urllib.parse.urlencode({"query": expr}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query", data, timeout=30) as response:
                return json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}: {error.read().decode()}") from error

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with how its last evaluation went."""
        with urllib.request.urlopen(f"{self.url}/api/v1/rules", timeout=30) as response:
            groups = json.load(response)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@dataclass(frozen=True)
class Writing:
    """What a Prometheus does with samples beside storing them.

    `program`: another Prometheus than the one on PATH. `remote_write`: as its configuration has it. `sees_itself`: it
    scrapes its own metrics. `is_written_to`: it takes remote writes.
    """

    program: str = "prometheus"
    remote_write: Sequence[Mapping[str, Any]] = ()
    sees_itself: bool = False
    is_written_to: bool = False


@contextmanager
def running_prometheus(
    folder: Path,
    targets: Sequence[Target],
    groups: Sequence[Mapping[str, Any]] = (),
    writing: Writing = Writing(),
    alertmanager: str = "",
) -> Iterator[Prometheus]:
    """Scrape the targets and evaluate the groups every second, until the end of `with`.

    Args:
        alertmanager: host:port that alerts are sent to.
    """
    port = free_port()
    own = [Target("prometheus", f"127.0.0.1:{port}", {})] if writing.sees_itself else []
    jobs: dict[str, list[dict[str, Any]]] = {}
    for target in [*targets, *own]:
        jobs.setdefault(target.job, []).append({"targets": [target.address], "labels": dict(target.labels)})
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": job, "static_configs": given} for job, given in jobs.items()],
        "remote_write": list(writing.remote_write),
    }
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    folder.mkdir(exist_ok=True)
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": list(groups)}))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    options += [f"--web.listen-address=127.0.0.1:{port}"]
    options += ["--web.enable-remote-write-receiver"] if writing.is_written_to else []
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([writing.program, *options], stdout=log, stderr=log)
    try:
        until_ready(f"http://127.0.0.1:{port}", process, folder / "prometheus.log")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a Prometheus that was started answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=5):
            return
        time.sleep(0.05)
    pytest.fail(f"Prometheus did not start: {log.read_text()[-2000:]}")
