"""`genai render`: the objects as YAML, for a reader or for GitOps. Secrets are never among them.

DIR/kustomization.yaml              the list that `kubectl apply -k DIR` applies, in its order.
DIR/platform/<kind>-<name>.yaml     what every model shares
DIR/<model>/<kind>-<name>.yaml      one release of one model, with the traffic on it
DIR/platform/karpenter/             node pools, and DIR/platform/prometheus-operator/ monitors: each has a kustomization
                                    of its own, because a cluster without their CRDs refuses all that comes with them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import (
    Objects,
    render_chat_ui,
    render_live,
    render_monitoring,
    render_node_pools,
    render_platform,
    render_rbac,
)
from genai_pipeline.observability.observability_objects import observability_objects
from genai_pipeline.observability.rule_groups import all_groups

Folders = list[tuple[str, Objects]]
"""Folder and what is written into it, in the order in which it is applied."""

KUSTOMIZATION = "kustomization.yaml"
WRITTEN_BY = "# Written by `genai render`, which replaces it and the files that it lists.\n"
PLATFORM, RBAC, OBSERVABILITY = "platform", "rbac", "observability"
KARPENTER, PROMETHEUS_OPERATOR = f"{PLATFORM}/karpenter", f"{PLATFORM}/prometheus-operator"
APPLIED_ALONE = (KARPENTER, PROMETHEUS_OPERATOR)
"""Folders of kinds that a cluster may lack and a model can do without. Kinds that a model needs are in its folder."""


def rendered(releases: Sequence[tuple[ModelSpec, Release]], profile: Profile) -> Folders:
    """Return the platform's objects first, then those of each model."""
    specs = [spec for spec, _ in releases]
    platform = [
        (PLATFORM, [*render_platform(profile), *render_chat_ui(profile, specs)]),
        (KARPENTER, render_node_pools(profile, specs)),
        (PROMETHEUS_OPERATOR, render_monitoring(profile)),
    ]
    return [*platform, *((spec.name, render_live(spec, release, profile)) for spec, release in releases)]


def rbac_objects(profile: Profile) -> Folders:
    """Return what an administrator applies once. With it the pipeline may do its work and nothing else."""
    return [(RBAC, render_rbac(profile))]


def watched(specs: Sequence[ModelSpec], profile: Profile) -> Folders:
    """Return dashboards, rules, monitors and the exporter of releases: what a Prometheus operator and Grafana read."""
    return [(OBSERVABILITY, observability_objects(specs, profile))]


def rule_file(specs: Sequence[ModelSpec], profile: Profile) -> str:
    """Return the same rules as one file, for Amazon Managed Prometheus or a Prometheus without an operator."""
    import yaml

    groups = {"groups": all_groups(specs, profile)}
    return yaml.safe_dump(groups, sort_keys=False, allow_unicode=True, width=10_000)


def as_yaml(objects: Objects) -> str:
    import yaml

    return yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, explicit_start=True, width=120)


def write_objects(folders: Folders, out: Path) -> list[Path]:
    """Write one file per object and the kustomizations; returns the files, those of `out` itself last.

    What an earlier render wrote and this one does not is removed, so that no old release lingers.
    Raises: Refused: there is a kustomization that `genai render` did not write.
    """
    before = {file for place in ("", *APPLIED_ALONE) for file in _listed(out, out / place)}
    alone = [(out / folder, [("", objects)]) for folder, objects in folders if folder in APPLIED_ALONE and objects]
    together = [(folder, objects) for folder, objects in folders if folder not in APPLIED_ALONE]
    written = [file for place, what in (*alone, (out, together)) for file in _written(what, place)]
    for file in before - set(written):
        file.unlink(missing_ok=True)
        with suppress(OSError):  # other files are in it
            file.parent.rmdir()
    return written


def _written(folders: Folders, place: Path) -> list[Path]:
    texts = {str(Path(folder) / _file_name(o)): as_yaml([o]) for folder, objects in folders for o in objects}
    texts[KUSTOMIZATION] = _kustomization(list(texts))
    for name, text in texts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return [place / name for name in texts]


def _file_name(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['kind'].lower()}-{manifest['metadata']['name']}.yaml"


def _kustomization(files: list[str]) -> str:
    body = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": files}
    return WRITTEN_BY + as_yaml([body])


def _listed(out: Path, place: Path) -> set[Path]:
    """Return what an earlier render wrote there, its kustomization included unless it is that of `out`."""
    import yaml

    kustomization = place / KUSTOMIZATION
    try:
        text = kustomization.read_text()
    except FileNotFoundError:
        return set()
    if not text.startswith(WRITTEN_BY):
        raise Refused(
            f"{kustomization} was not written by `genai render`.",
            "Render into a folder of its own and name that folder in the resources of your kustomization.",
        )
    names = (yaml.safe_load(text) or {}).get("resources") or []
    files = {place / name for name in names if not name.startswith("/") and ".." not in Path(name).parts}
    return files if place == out else files | {kustomization}
