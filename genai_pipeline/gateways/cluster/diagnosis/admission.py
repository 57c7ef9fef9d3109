"""Explains why the API server refuses a Deployment's pods. Pure.

The Deployment itself is admitted, at most with a warning. Its ReplicaSet then cannot make pods and says so in the
condition ReplicaFailure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause, known_cause


def admission_cause(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Cause | None:
    """Return why no pod can be made; None where pods can.

    Args:
        pods: the Deployment's own. Those that are being deleted give quota back.
    """
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return refusal(condition.get("message") or "", any("deletionTimestamp" in p["metadata"] for p in pods))
    return None


def refusal(message: str, pods_end: bool = False) -> Cause | None:
    """Return the cause behind a message of the API server. `pods_end`: pods that count against a quota are ending."""
    cause = known_cause("api_server", message)
    if cause and pods_end and "exceeded quota" in message:
        return replace(cause, final=False)
    return cause
