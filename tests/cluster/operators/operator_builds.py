"""Build an operator from its Go module, once per version and machine, beside the programs of the cluster.

The module is copied and built as its project does, with its own go.mod: that of another module could not repeat what
it replaces. Go compares each download with its checksum database.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.machine import build

WITHOUT = "needs what `python -m tests.cluster.operators` builds with Go: {}"
_FLAGS = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false"}
_OWN_MODULES = ("pkg/apis/monitoring", "pkg/client")
_USED_SCALER = "prometheus"
_SHARED = 'const externalMetricType = "External"'
"""What the scaler takes from the file of another one."""
_AZURE_USED = ("aad", "azidentity", "cloud", "managed_prometheus")
_SWITCH = re.compile(rf'(switch triggerType \{{\n).*?(\tcase "{_USED_SCALER}":\n[^\n]*\n).*?(\tdefault:\n)', re.DOTALL)


@dataclass(frozen=True)
class Operator:
    """What is published together. `programs`: name -> package. `definitions`: its kinds, as a pattern of files."""

    name: str
    module: str
    programs: Mapping[str, str]
    definitions: str
    prepare: Callable[[Path], None]

    @property
    def folder(self) -> Path:
        """Where it is, once it is built: `bin/` with the programs, `crds/` with its kinds."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        digest = hashlib.sha256(f"{self.module}\n{Path(__file__).read_text()}".encode()).hexdigest()[:16]
        return Path(base) / "genai-pipeline" / "operators" / f"{self.name}-{digest}"

    @property
    def is_built(self) -> bool:
        return self.folder.exists()

    def program(self, name: str) -> str:
        """Return the path of a program that was built."""
        return str(self.folder / "bin" / name)

    def crds(self) -> list[Path]:
        """Return the files with its kinds."""
        return sorted((self.folder / "crds").glob("*.yaml"))


def prepare_prometheus(source: Path) -> None:
    """Take the project's two other modules as they are published: the module's archive does not hold their folders."""
    prefix = "github.com/prometheus-operator/prometheus-operator"
    drop = [f"-dropreplace={prefix}/{module}" for module in _OWN_MODULES]
    subprocess.run(["go", "mod", "edit", *drop], cwd=source, check=True)


def prepare_keda(source: Path) -> None:
    """Leave out the scalers for other systems than Prometheus. Their clients are two thirds of what is compiled."""
    scalers = source / "pkg" / "scalers"
    left_out = [*scalers.glob("*_scaler.go"), *scalers.glob("azure/azure_*.go"), *scalers.glob("gcp/*_client.go")]
    used = (f"{_USED_SCALER}_scaler", *(f"azure_{name}" for name in _AZURE_USED))
    for file in left_out:
        if not file.name.startswith(used):
            file.unlink()
    (scalers / "shared.go").write_text(f"package scalers\n\n{_SHARED}\n")
    builder = source / "pkg" / "scaling" / "scalers_builder.go"
    text, found = _SWITCH.subn(r"\1\2\3", builder.read_text())
    if not found:
        raise ValueError(f"{builder} has no list of scalers as expected. KEDA's layout changed: mend prepare_keda.")
    builder.write_text(text)


PROMETHEUS = Operator(
    "prometheus",
    build.PROMETHEUS_OPERATOR,
    {"prometheus-operator": "./cmd/operator"},
    "example/prometheus-operator-crd/*.yaml",
    prepare_prometheus,
)
KEDA = Operator(
    "keda",
    build.KEDA,
    {"keda-operator": "./cmd/operator", "keda-metrics-apiserver": "./cmd/adapter"},
    "config/crd/bases/*.yaml",
    prepare_keda,
)


def make(operator: Operator) -> Path:
    """Build what is not there, and return its folder. Raises: CalledProcessError: Go could not build it."""
    target = operator.folder
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not operator.is_built:
            with tempfile.TemporaryDirectory(dir=target.parent) as work:
                _build(operator, Path(work)).rename(target)
    return target


def _build(operator: Operator, work: Path) -> Path:
    command = ["go", "mod", "download", "-json", operator.module]
    # In its own folder, so that no go.mod of ours has a say.
    found = subprocess.run(command, cwd=work, env=os.environ | _FLAGS, check=True, capture_output=True)
    published, source, made = Path(json.loads(found.stdout)["Dir"]), work / "source", work / "made"
    # The module cache is read-only, which a plain copy would hand on.
    shutil.copytree(published, source, copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(source):
        os.chmod(folder, 0o755)
    operator.prepare(source)
    for name, package in operator.programs.items():
        words = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(made / "bin" / name), package]
        subprocess.run(words, cwd=source, env=os.environ | _FLAGS, check=True)
    (made / "crds").mkdir()
    for file in source.glob(operator.definitions):
        if file.name != "kustomization.yaml":
            shutil.copyfile(file, made / "crds" / file.name)
    return made
