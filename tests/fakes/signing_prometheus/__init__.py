"""A Prometheus that signs for AWS, and that finds pods in a Kubernetes, with its promtool.

Debian's takes `sigv4` and sends without a signature, and knows no `kubernetes_sd_configs`. So it is one on PATH from
version 3 on, else one that `python -m tests.fakes.signing_prometheus` has built from its Go module: four minutes of
processor time, once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST_MAJOR = 3
WITHOUT = "needs version 3 on PATH, or what `python -m tests.fakes.signing_prometheus` builds with Go"
_MODULE = Path(__file__).parent
_PACKAGES = "github.com/prometheus/prometheus/cmd"
# Without discovery in clouds it has a third of its packages less.
_TAGS = "remove_all_sd,enable_kubernetes_sd"
_VERSION = re.compile(r"version (\d+)\.")


def signing_prometheus() -> str | None:
    """Return a program that is there already. Its promtool lies beside it."""
    installed = shutil.which("prometheus")
    if installed:
        said = subprocess.run([installed, "--version"], capture_output=True, text=True, check=False)
        version = _VERSION.search(f"{said.stdout}{said.stderr}")
        if version and int(version[1]) >= OLDEST_MAJOR:
            return installed
    return str(_built()) if _built().exists() else None


def build() -> str:
    """Return a program; build it where there is none. Raises: CalledProcessError: Go could not build it."""
    found = signing_prometheus()
    if found is None:
        for program in ("promtool", "prometheus"):
            _build(program)
        found = str(_built())
    return found


def _build(program: str) -> None:
    target = _built().with_name(program)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    command = ["go", "build", "-trimpath", f"-tags={_TAGS}", "-ldflags=-s -w", "-o", str(unfinished)]
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    subprocess.run([*command, f"{_PACKAGES}/{program}"], cwd=_MODULE, env=environment, check=True)
    unfinished.rename(target)


def _built() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256((_MODULE / "go.sum").read_bytes() + _TAGS.encode()).hexdigest()[:16]
    return Path(base) / "genai-pipeline" / "prometheus" / digest / "prometheus"
