"""The pod that sends the requests of a load test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.agent import own_image
from genai_pipeline.k8s.templating import render_template


def load_pod_name(release: Release) -> str:
    """Return the one name that a release has for it, so that the next load test finds what was left over."""
    return f"{release.object_name}-load"


def render_load_pod(release: Release, profile: Profile, env: Mapping[str, str], deadline_s: float) -> dict[str, Any]:
    """Return the pod.

    Args:
        env: what Dagster Pipes hands to it.
        deadline_s: seconds after its start at which its node ends it.
    """
    values = {"name": load_pod_name(release), "image": own_image(profile, "pipeline"), "env": dict(env)}
    (pod,) = render_template("load_pod.yaml", profile, release, deadline_s=int(deadline_s), **values)
    return pod
