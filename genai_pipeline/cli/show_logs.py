"""`genai logs`: which log a name stands for, and its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genai_pipeline.cli.chat_front_end import INSTALLER
from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.k8s.chat import CHAT_UI
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.log_files import follow, last_lines
from genai_pipeline.local.service_catalog import SERVICES
from genai_pipeline.resources.engines import Engines


def show_logs(
    profile: Profile, open_engines: Callable[[], Engines], models: Path, name: str, lines: int, following: bool
) -> Iterator[str]:
    """The last lines of a service, an engine, an agent or the chat front end; then, if `following`, what is added.

    Raises: NotFound: the name is none of them; Refused: only the local profile can follow pods.
    """
    known = [spec.name for spec in read_models(models).specs]
    if profile.name == "local" and name in (*SERVICES, "supervisord", INSTALLER) and name not in known:
        yield from _service(Installation.of(profile), name, lines, following)
        return
    model, component = _pods_meant(name, known)
    yield from _pods(open_engines(), model, component, lines, following)


def _service(installation: Installation, name: str, lines: int, following: bool) -> Iterator[str]:
    file = installation.home / "supervisord.log" if name == "supervisord" else installation.log(name)
    added = follow(lambda: [file]) if following else iter(())
    yield last_lines(file, lines)
    yield from added


def _pods_meant(name: str, models: Sequence[str]) -> tuple[str, str]:
    if name in models:
        return name, "engine"
    if name == CHAT_UI:
        return name, name
    if name == "agent" and len(models) == 1:
        return models[0], "agent"
    if name.endswith("-agent") and name.removesuffix("-agent") in models:
        return name.removesuffix("-agent"), "agent"
    pods = (CHAT_UI, *models, *(f"{model}-agent" for model in models))
    raise NotFound(f"There is no log called {name!r}.", f"Known: {', '.join((*SERVICES, 'supervisord', *pods))}.")


def _pods(engines: Engines, model: str, component: str, lines: int, following: bool) -> Iterator[str]:
    profile, gateways = engines.profile, engines.gateways
    labels = {"app.kubernetes.io/name": model, "app.kubernetes.io/component": component}
    if following and profile.name != "local":
        selector = ",".join(f"{k}={v}" for k, v in labels.items())
        raise Refused("Only the local profile follows pods' logs.", f"Use `kubectl logs -f -l {selector}`.")
    added = follow(_files(gateways, profile, labels)) if following else iter(())
    text = gateways.cluster.logs(labels, lines)
    yield text.rstrip("\n") if text.strip() else f"There is no pod of {model}'s {component}."
    yield from added


def _files(gateways: Gateways, profile: Profile, labels: dict[str, str]) -> Callable[[], list[Path]]:
    """Return the log files of the pods that match. Each call asks the cluster again: pods come and go."""

    def files() -> list[Path]:
        pods = [pod["metadata"] for pod in gateways.cluster.list("Pod", labels)]
        folders = [profile.home / "cluster" / "pods" / f"{pod['namespace']}.{pod['name']}" for pod in pods]
        return [file for folder in folders for file in sorted(folder.glob("*.log"))]

    return files
