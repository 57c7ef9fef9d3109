"""What scales plain vLLM: KEDA, by the requests that a Prometheus has read; on one machine its cluster. Pure."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.pods import FEWEST_REPLICAS, MOST_REPLICAS, Object, condition
from genai_pipeline.gateways.metrics.amazon_workspace import signing_region
from genai_pipeline.gateways.metrics.names import OWN, RUNNING, WAITING
from genai_pipeline.k8s.engine import ENGINE_PORT

SCALER_KINDS = ("ScaledObject", "TriggerAuthentication")
"""Of an engine's objects, what makes KEDA scale it; in the order in which they go."""

_LOOPBACK = ("127.", "localhost", "::1")
_REQUESTS = f"({'|'.join(OWN)})({RUNNING}|{WAITING})"
"""Names of the gauges; a Prometheus 2 may have them with `_`. Source: vLLM documentation, "Production Metrics"."""
_NO_SCALING = "or set serving.replicas.max to serving.replicas.min"


def refuse_unscalable(serving: Serving, profile: Profile) -> None:
    """Raises: Refused: the replicas are to follow the load, and nothing could read the load."""
    if serving.engine != "vllm" or not serving.scales or profile.name == "local":
        return
    most = f"serving.replicas.max is {serving.replicas.max}"
    if profile.prometheus_url is None:
        raise Refused(
            f"{most}, and there is no Prometheus that says how many requests run.",
            f"Set GENAI_PROMETHEUS_URL, {_NO_SCALING}.",
        )
    if (urlsplit(profile.prometheus_url).hostname or "").startswith(_LOOPBACK):
        raise Refused(
            f"{most}, and KEDA cannot reach the Prometheus at {profile.prometheus_url} from its pod.",
            f"Set GENAI_PROMETHEUS_URL to an address that pods reach as well, {_NO_SCALING}.",
        )


def why_not_scaling(scaled_object: Object) -> str:
    """Return why KEDA does not scale now what a ScaledObject names, or an empty text if it does.

    Source: KEDA 2.20, apis/keda/v1alpha1/condition_types.go and pkg/fallback/fallback.go.
    """
    if not (scaled_object.get("status") or {}).get("conditions"):
        return "KEDA's operator has not looked at it"
    if condition(scaled_object, "Paused", "True"):
        return "it is paused"
    if condition(scaled_object, "Fallback", "True"):
        return "its figures cannot be read, so that the number of replicas stays as it is"
    for kind in ("Ready", "HPAActive"):
        found = condition(scaled_object, kind)
        if found and found["status"] != "True":
            return f"{kind} is {found['status']}: {found.get('message') or found.get('reason') or 'no reason is given'}"
    return ""


def scaling_values(serving: Serving, release: Release, profile: Profile) -> dict[str, Any]:
    """Return what the templates of a Deployment and of its ScaledObject need, or an empty mapping if nothing scales.

    That is so without a Prometheus, too. On one machine the engine's own figures are read.
    """
    if not serving.scales or (profile.name != "local" and profile.prometheus_url is None):
        return {}
    replicas = serving.replicas
    own = f"http://{release.object_name}.{profile.namespace}.svc:{ENGINE_PORT}"
    address = own if profile.name == "local" else (profile.prometheus_url or "").rstrip("/")
    return {
        "bounds": {FEWEST_REPLICAS: str(replicas.min), MOST_REPLICAS: str(replicas.max)},
        "scaling": replicas,
        "prometheus": address,
        "query": _query(release, profile),
        "signed_for": signing_region(profile),
    }


def _query(release: Release, profile: Profile) -> str:
    """Return the requests of all replicas together. Without a series there is no result, which is an error to KEDA."""
    labels = {"namespace": profile.namespace, "service": release.object_name}
    matchers = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return f'sum({{__name__=~"{_REQUESTS}",{matchers}}})'
