"""The Prometheus of one machine: a program that is installed already, its configuration, its rules, its limits.

Engines, agents and pods of Ray are found through `/targets` of `genai exporter`, which reads the local cluster's pods.
The rules are those of `genai render --rules`. What it keeps is bounded in days and bytes, below `<home>/prometheus/`.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.local.ports import HOST
from genai_pipeline.observability.nvml_series import JOB
from genai_pipeline.observability.rule_groups import all_groups

GIVEN_BY_USER = "GENAI_PROMETHEUS_URL"
SCRAPED_EVERY = "5s"
KEPT_FOR, KEPT_AT_MOST = "7d", "512MB"
GO_MEMORY = {"GOGC": "50", "GOMEMLIMIT": "200MiB"}
"""A laptop's memory belongs to the engines. The limit is soft: Go collects more often near it."""
OLDEST = (2, 28)
"""The first version that asks an HTTP address for its targets."""
BEST_MAJOR = 3
_VERSION = re.compile(r"version (\d+)\.(\d+)\.\S+")
PROMETHEUS = "prometheus"
"""The name of the service, of its program and of its port."""
OWN_METRICS = "Set GENAI_PROMETHEUS_URL to have alerts and dashboards."
WITHOUT = "So metrics are read from each engine's own /metrics, and there are no alerts."
INSTALL = "Install Prometheus (Debian: apt-get install prometheus), then run `genai up`."


@dataclass(frozen=True)
class Version:
    """`text` is as the program writes it, `number` its first two numbers."""

    text: str
    number: tuple[int, int]


@dataclass(frozen=True)
class FoundProgram:
    """What there is on PATH. `program` is what `genai up` starts. Without a `remedy` the user need not do anything."""

    program: str | None
    says: str
    remedy: str = ""


def find_prometheus(env: Mapping[str, str]) -> FoundProgram:
    """Decide whether there is a Prometheus to start: the one place that `genai up`, status and doctor ask.

    Args:
        env: the user's environment.
    """
    if url := env.get(GIVEN_BY_USER):
        return FoundProgram(None, f"Metrics are read from the Prometheus at {url} ({GIVEN_BY_USER}).")
    program = shutil.which(PROMETHEUS, path=env.get("PATH", ""))
    if program is None:
        return FoundProgram(None, f"No Prometheus is on PATH. {WITHOUT}", INSTALL)
    said = version_of(program)
    version = version_in(said)
    if version is None:
        return FoundProgram(None, f"{program} is no Prometheus: {said[:80]!r}. {WITHOUT}", INSTALL)
    if version.number < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return FoundProgram(None, f"Prometheus {version.text} at {program} is older than {oldest}. {WITHOUT}", INSTALL)
    older = (
        "" if version.number[0] >= BEST_MAJOR else f" It works. {BEST_MAJOR} and later sign remote writes to AWS, too."
    )
    return FoundProgram(program, f"Prometheus {version.text} at {program}.{older}")


def prometheus_command(program: str, home: Path, port: int) -> Sequence[str]:
    """Return the command line: loopback only, and bounded."""
    folder = home / "prometheus"
    return (
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={KEPT_FOR}",
        f"--storage.tsdb.retention.size={KEPT_AT_MOST}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    )


def prometheus_files(
    home: Path,
    ports: Mapping[str, int],
    specs: Sequence[ModelSpec],
    profile: Profile,
    sends_alerts: bool = False,
    sees_gpus: bool = False,
) -> dict[Path, str]:
    """Return what the program reads: its configuration, and the rules of the models.

    Args:
        sends_alerts: whether an Alertmanager runs beside it.
        sees_gpus: whether an exporter of GPUs does.
    """
    exporter = f"{HOST}:{ports['exporter']}"
    of_exporter = {"namespace": profile.namespace, "pod": "genai-exporter"}
    pods = {
        "job_name": "pods",
        "http_sd_configs": [{"url": f"http://{exporter}/targets", "refresh_interval": SCRAPED_EVERY}],
    }
    releases = {
        "job_name": f"{profile.namespace}/genai-exporter",
        "scrape_interval": "15s",
        "static_configs": [{"targets": [exporter], "labels": of_exporter}],
    }
    config: dict[str, Any] = {
        "global": {"scrape_interval": SCRAPED_EVERY, "evaluation_interval": SCRAPED_EVERY},
        "rule_files": ["rules.yml"],
        "scrape_configs": [pods, releases, *([_gpus(ports, profile)] if sees_gpus else [])],
    }
    if sends_alerts:
        to = {"static_configs": [{"targets": [f"{HOST}:{ports['alertmanager']}"]}]}
        config["alerting"] = {"alertmanagers": [to]}
    folder = home / "prometheus"
    rules = {"groups": all_groups(specs, profile)}
    return {
        folder / "prometheus.yml": yaml.safe_dump(config, sort_keys=False),
        folder / "rules.yml": yaml.safe_dump(rules, sort_keys=False, allow_unicode=True),
    }


def _gpus(ports: Mapping[str, int], profile: Profile) -> dict[str, Any]:
    """Return the job whose series name the pods that work on the GPUs, so that these names are kept."""
    targets = [{"targets": [f"{HOST}:{ports['gpu_exporter']}"]}]
    return {"job_name": f"{profile.namespace}/{JOB}", "honor_labels": True, "static_configs": targets}


def digest_of(files: Mapping[Path, str]) -> str:
    """Return a digest of the files. In a program's environment, it makes a change of them a change of the program."""
    return hashlib.sha256("\n".join(files.values()).encode()).hexdigest()


def version_in(said: str) -> Version | None:
    """Return the version in what a program said of itself, or None where it said none."""
    found = _VERSION.search(said)
    if found is None:
        return None
    return Version(found[0].removeprefix("version ").rstrip(","), (int(found[1]), int(found[2])))


def version_of(program: str) -> str:
    """Return what a program says to `--version`, or why it says nothing."""
    try:
        asked = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return f"{asked.stdout} {asked.stderr}".strip()
