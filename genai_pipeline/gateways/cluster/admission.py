"""Why the API server refuses a Deployment's pods. Pure.

The Deployment itself is admitted, at most with a warning; its ReplicaSet then fails to make pods and says so in the
condition ReplicaFailure. The texts are those of kube-apiserver 1.34.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.gateways.cluster.causes import Cause

_CAUSES: tuple[tuple[str, Cause], ...] = (
    (
        r"exceeded quota: (?P<detail>.+)",
        Cause("A ResourceQuota is exceeded", "Raise the quota, or lower `serving.resources` in the model file.", True),
    ),
    (
        r"failed quota: (?P<detail>.+)",
        Cause("A ResourceQuota wants what the pod does not say", "Set these requests and limits.", True),
    ),
    (
        r"(?P<detail>(?:minimum|maximum) \S+ usage per .+|\S+ max limit to request ratio .+)",
        Cause("A LimitRange refuses the pod", "Keep `serving.resources` within it, or change the LimitRange.", True),
    ),
    (
        r"violates PodSecurity (?P<detail>.+)",
        Cause(
            "Pod Security refuses the pod", "Correct the securityContext as it says, or relabel the namespace.", True
        ),
    ),
    (
        r"error looking up service account (?P<detail>\S+): serviceaccount",
        Cause("The ServiceAccount is missing", "Apply it before the Deployment.", True),
    ),
    (
        r"no PriorityClass with name (?P<detail>\S+) was found",
        Cause("The PriorityClass is missing", "Apply it before the Deployment.", True),
    ),
    (
        r"RuntimeClass \"(?P<detail>[^\"]+)\" not found",
        Cause("The RuntimeClass is missing", "Apply it before the Deployment.", True),
    ),
    (
        r"admission webhook (?P<detail>.+) denied the request",
        Cause("An admission webhook refuses the pod", "Do what its message asks, or change its policy.", True),
    ),
    (
        r"failed calling webhook (?P<detail>.+)",
        Cause("An admission webhook does not answer", "Check its Service; the controller tries again by itself."),
    ),
    (r"is invalid: (?P<detail>.+)", Cause("The pod is invalid", "Correct the field that it names.", True)),
    (r"is forbidden: (?P<detail>.+)", Cause("The API server forbids the pod", "Do what it says.", True)),
)


def admission_cause(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Cause | None:
    """Why no pod can be made. Args: pods: the Deployment's own; those that are leaving give quota back."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return refusal(condition.get("message") or "", any("deletionTimestamp" in p["metadata"] for p in pods))
    return None


def refusal(message: str, leaving: bool = False) -> Cause | None:
    """The cause behind a message of the API server; `leaving`: pods end that count against a quota."""
    for pattern, cause in _CAUSES:
        match = re.search(pattern, message)
        if match:
            final = cause.final and not (leaving and "exceeded quota" in message)
            return Cause(f"{cause.what}: {match['detail']}", cause.remedy, final)
    return None
