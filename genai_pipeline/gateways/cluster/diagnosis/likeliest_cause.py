"""Finds the likeliest cause of a Deployment that does not become ready, from its objects, events and logs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.container_states import container_cause, pod_cause
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause, known_cause, likely_cause
from genai_pipeline.gateways.cluster.diagnosis.scheduling import scheduling_cause
from genai_pipeline.gateways.cluster.pods import condition, is_ready


def cause_of(deployment: Mapping[str, Any], seen: Evidence) -> Cause | None:
    """Return the likeliest cause, a final one before the others, or None where no cause is known."""
    newest = seen.newest
    logged = likely_cause(seen.logs) if newest.crashes else None
    found = [cause for cause in (_admission_cause(deployment, seen.pods), logged) if cause]
    for pod in newest.pods:
        if not is_ready(pod):
            found += causes_of_pod(pod, seen)
    return likeliest(found)


def likeliest(found: Iterable[Cause]) -> Cause | None:
    """Return the first final cause, or else the first one: what is final needs no other evidence."""
    causes = list(found)
    return next((cause for cause in causes if cause.final), causes[0] if causes else None)


def causes_of_pod(pod: Mapping[str, Any], seen: Evidence) -> list[Cause]:
    """Return the causes that a pod's status, its events and those of its claims show."""
    own = seen.events_of(pod)
    found = [
        container_cause(pod, own),
        _claim_cause(pod, seen.events),
        scheduling_cause(pod, own, seen.pools),
        pod_cause(pod, own),
    ]
    return [cause for cause in found if cause]


def claims_of(pod: Mapping[str, Any]) -> set[str]:
    """Return the names of the PersistentVolumeClaims that the pod mounts."""
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return {v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim")}


def _claim_cause(pod: Mapping[str, Any], events: Sequence[ClusterEvent]) -> Cause | None:
    if (pod.get("spec") or {}).get("nodeName"):
        return None
    names = claims_of(pod)
    for event in reversed(events):
        if event.kind != "PersistentVolumeClaim" or event.name not in names:
            continue
        what = f"The PersistentVolumeClaim {event.name} is not bound: {event.message}"
        if "storageclass" in event.message and "not found" in event.message:
            return Cause(what, "Correct its storageClassName, or apply the StorageClass.", True)
        if event.reason in ("FailedBinding", "ProvisioningFailed"):
            return Cause(what, "Add a volume that fits it, or name a StorageClass that creates one.")
    return None


def _admission_cause(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Cause | None:
    """Return why no pod can be made, or None where pods can.

    The Deployment itself is admitted, at most with a warning. Its ReplicaSet then cannot make pods and says so in the
    condition ReplicaFailure.

    Args:
        pods: the Deployment's own. Those that are being deleted give quota back.
    """
    if failure := condition(deployment, "ReplicaFailure", "True"):
        return refusal(failure.get("message") or "", any("deletionTimestamp" in p["metadata"] for p in pods))
    return None


def refusal(message: str, pods_end: bool = False) -> Cause | None:
    """Return the cause behind a message of the API server. `pods_end`: pods that count against a quota are ending."""
    cause = known_cause("api_server", message)
    if cause and pods_end and "exceeded quota" in message:
        return replace(cause, final=False)
    return cause
