"""The settings of one release's agent, named as in charts/strands-agent/values.yaml. Pure.

The chart with these values gives the objects that `render_agent` gives: a test holds the two together. A release's
record remembers them, so that a change of one is a reason to deploy the agent again, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

from genai_pipeline.core.model_spec import AgentSpec, ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.network import MEMORY, agent_egress, callers
from genai_pipeline.k8s.templating import MANAGED_BY, STOP_DELAY_S, bind_address, release_labels

STORE_ACCESS = "store-access"
ACCOUNT = "genai-agent"
IMAGE = "strands-agent"
DRAIN_S = 60
"""As long as a request may take (AGENT_DEADLINE_S): what was accepted is finished."""
TEARDOWN_S = 10

Values = dict[str, Any]


def agent_values(spec: ModelSpec, release: Release, profile: Profile, model_url: str) -> Values:
    """Return the chart's values; `model_url` reaches the release's engine from its pod."""
    return {
        "fullnameOverride": release.agent_object_name,
        "image": _image(profile),
        "replicaCount": profile.agent_replicas,
        "autoscaling": {
            "enabled": profile.agent_is_autoscaled,
            "maxReplicas": profile.agent_replicas_max or profile.agent_replicas,
        },
        "bindAddress": bind_address(profile),
        "releaseId": release.id,
        "model": {"provider": "openai", "baseUrl": f"{model_url}/v1", "id": release.model},
        "weather": {"url": profile.weather_url},
        "limits": {"maxAnswerTokens": spec.agent.max_tokens if isinstance(spec.agent, AgentSpec) else None},
        "sessions": {"store": sessions_url(release.model, profile)},
        "aws": {
            "region": profile.region,
            "endpointUrl": profile.pods_s3_endpoint or "",
            "existingSecret": _store_secret(profile),
        },
        "auth": {"existingSecret": {"name": profile.agent_keys_secret or ""}},
        "otlp": {"endpoint": profile.otlp_endpoint or ""},
        "serviceAccount": {"name": ACCOUNT},
        "labels": {
            "selector": release_labels(release, "agent"),
            "objects": release_labels(release, "agent") | MANAGED_BY,
            "shared": dict(MANAGED_BY),
        },
        "networkPolicy": _network_policy(profile),
        "serviceMonitor": {"enabled": False},  # the platform's PodMonitor scrapes every agent
        "stopDelaySeconds": STOP_DELAY_S,
        "drainSeconds": DRAIN_S,
        "terminationGracePeriodSeconds": STOP_DELAY_S + DRAIN_S + TEARDOWN_S,
        "priorityClassName": "genai-serving",
        "podAnnotations": {} if may_move(profile) else {"karpenter.sh/do-not-disrupt": "true"},
        "helmTest": {"enabled": False},
    }


def agent_settings(spec: ModelSpec, release: Release, profile: Profile, model_url: str) -> dict[str, Any]:
    """The same values, flat: what a redeploy may be about. Without what names the release, or follows from others."""
    values = agent_values(spec, release, profile, model_url)
    for name in ("fullnameOverride", "labels", "releaseId", "podAnnotations"):
        del values[name]
    return dict(_flat(values)) | {"image": image_name(profile)}


def sessions_url(model: str, profile: Profile) -> str:
    """Return where conversations are kept: one place for all releases of a model, so that the next continues them."""
    if profile.agent_sessions == MEMORY:
        return MEMORY
    return f"{(profile.agent_sessions or f's3://{profile.bucket}/sessions').rstrip('/')}/{model}"


def _store_secret(profile: Profile) -> str:
    """None where conversations stay in memory: then nothing is asked of the store."""
    return "" if profile.agent_sessions == MEMORY else profile.agent_store_secret or STORE_ACCESS


def binds_callers(profile: Profile) -> bool:
    """Return whether a caller must return to the pod that knows the conversation."""
    return profile.agent_sessions == MEMORY and (profile.agent_replicas > 1 or profile.agent_is_autoscaled)


def may_move(profile: Profile) -> bool:
    """Return whether Karpenter may move an agent: others answer meanwhile, and know the conversation."""
    return profile.agent_sessions != MEMORY and profile.agent_replicas > 1


def image_name(profile: Profile) -> str:
    return profile.agent_image or own_image(profile, IMAGE)


def own_image(profile: Profile, name: str) -> str:
    return f"{profile.image_registry}genai-pipeline/{name}:{package_version()}"


@cache
def package_version() -> str:
    return version("genai-pipeline")


def _image(profile: Profile) -> Values:
    name, _, digest = image_name(profile).partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return {"repository": f"{folder}{slash}{last}", "tag": tag, "digest": digest}


def _network_policy(profile: Profile) -> Values:
    model_rule = agent_egress(profile)[1]
    return {
        "name": "agent",
        "podSelector": {"app.kubernetes.io/component": "agent", **MANAGED_BY},
        "from": callers(profile, ["chat-ui", "pipeline"]),
        "modelPods": model_rule["to"],
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
