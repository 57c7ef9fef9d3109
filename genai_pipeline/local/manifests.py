"""`genai render`: a release's objects as YAML, for a reader or for GitOps. Secrets are never among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import (
    ENGINE_PORT,
    render_agent,
    render_engine,
    render_namespace,
    render_node_pools,
    render_stable,
)


def release_objects(spec: ModelSpec, release: Release, profile: Profile) -> list[dict[str, Any]]:
    """Everything that the pipeline applies for a release that is live."""
    engine = f"http://{release.object_name}.{profile.namespace}.svc:{ENGINE_PORT}"
    return [
        *render_namespace(profile),
        *render_node_pools(profile, [spec]),
        *render_engine(spec, release, profile),
        *render_agent(release, profile, engine),
        *render_stable(release, profile, "engine"),
        *render_stable(release, profile, "agent"),
    ]


def as_yaml(objects: list[dict[str, Any]]) -> str:
    import yaml

    return yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, explicit_start=True)


def write_objects(objects: list[dict[str, Any]], folder: Path) -> list[Path]:
    """One file per object, `<kind>-<name>.yaml`; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for manifest in objects:
        file = folder / f"{manifest['kind'].lower()}-{manifest['metadata']['name']}.yaml"
        file.write_text(as_yaml([manifest]))
        files.append(file)
    return files
