"""Reading Kubernetes objects: labels, owners, times, readiness. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from genai_pipeline.core.clock import iso_utc
from genai_pipeline.gateways.cluster.kinds import CLUSTER_SCOPED
from genai_pipeline.gateways.cluster.pods import condition, is_ready

ENFORCED = frozenset({"ConfigMap", "Deployment", "Namespace", "RayService", "ScaledObject", "Secret", "Service"})
"""Kinds that do something here. Every other kind is kept and returned."""

HASH_LABEL = "pod-template-hash"

Object = dict[str, Any]


def timestamp(seconds: float) -> str:
    return iso_utc(datetime.fromtimestamp(seconds, UTC))


def seconds_of(text: str | None) -> float:
    """Unix seconds of a timestamp, 0 for none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def namespace_of(kind: str, manifest: Mapping[str, Any], default: str) -> str:
    """The namespace an object lives in, or an empty text for kinds that have none."""
    return "" if kind in CLUSTER_SCOPED else manifest["metadata"].get("namespace") or default


def labels_match(wanted: Mapping[str, str], labels: Mapping[str, str] | None) -> bool:
    return all((labels or {}).get(key) == value for key, value in wanted.items())


def selector_matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A Deployment's selector: matchLabels and matchExpressions."""
    if not labels_match(selector.get("matchLabels") or {}, labels):
        return False
    for rule in selector.get("matchExpressions") or []:
        value, values = labels.get(rule["key"]), rule.get("values") or []
        matches = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not matches[rule["operator"]]:
            return False
    return True


def terminating(obj: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def transition(obj: Mapping[str, Any], kind: str, status: str, reason: str, message: str, now: float) -> dict[str, Any]:
    """The object's next condition of a type; its transition time moves only with its status."""
    before = condition(obj, kind)
    same = before.get("status") == status
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": before["lastTransitionTime"] if same else timestamp(now),
    }


def pod_ready(pod: Mapping[str, Any]) -> bool:
    return not terminating(pod) and is_ready(pod)


def template_hash(template: Mapping[str, Any]) -> str:
    text = json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def containers_of(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the pod's containers, in the order in which they start."""
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def program_name(pod: Mapping[str, Any], container: str) -> str:
    """Return the name of a container's process in supervisord."""
    meta = pod["metadata"]
    return f"pod.{meta['namespace']}.{meta['name']}.{container}"
