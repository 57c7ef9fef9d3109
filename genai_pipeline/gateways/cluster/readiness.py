"""Whether a Deployment is there yet, and if it never will be, why. Pure; for every sort of cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import NotReady
from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.causes import likely_cause

CRASHES_MAX = 3
HOPELESS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
EVENTS_SHOWN, LINES_SHOWN = 5, 15


@dataclass(frozen=True)
class Progress:
    """`hopeless` says why waiting longer is in vain; empty while there is hope."""

    done: bool
    summary: str
    hopeless: str = ""


def progress_of(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Progress:
    """How far the newest generation is. `pods` are the Deployment's own."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    replicas = spec.get("replicas", 1)
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    counts = [status.get(key) or 0 for key in ("updatedReplicas", "replicas", "availableReplicas")]
    waiting = [w for pod in _newest(pods) for w in _waiting(pod)]
    summary = f"{counts[2]} of {replicas} replicas available, {counts[0]} updated"
    if waiting:
        summary += "; " + "; ".join(sorted(set(waiting)))
    if observed and counts == [replicas] * 3:
        return Progress(True, summary)
    return Progress(False, summary, _hopeless(deployment, _newest(pods)) if observed else "")


def not_ready(deployment: str, why: str, progress: Progress, events: Sequence[ClusterEvent], logs: str) -> NotReady:
    """The error with the diagnosis: what the pods wait for, events, log lines, likely cause."""
    warnings = [e for e in events if e.type == "Warning"] or list(events)
    shown = [f"  {e.reason}: {e.message}" for e in warnings[-EVENTS_SHOWN:]]
    lines = [f"  {line}" for line in logs.splitlines()[-LINES_SHOWN:]]
    # The log knows best; only where it says nothing, events and states are asked.
    cause = likely_cause(logs) or likely_cause("\n".join([progress.summary, *shown]))
    parts = [f"Deployment {deployment} is not ready: {why} ({progress.summary})."]
    if cause:
        parts.append(f"Likely cause: {cause.what}.")
    if shown:
        parts += ["Last events:", *shown]
    if lines:
        parts += ["Last log lines:", *lines]
    remedy = cause.remedy if cause else f"See the events and logs of Deployment {deployment}."
    return NotReady("\n".join(parts), f"\n{remedy}")


def _newest(pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pods of the newest template: only they tell whether it can come up."""
    alive = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    if not alive:
        return []
    youngest = max(alive, key=lambda p: p["metadata"].get("creationTimestamp") or "")
    template = _template(youngest)
    return [p for p in alive if _template(p) == template]


def _template(pod: Mapping[str, Any]) -> str | None:
    return (pod["metadata"].get("labels") or {}).get("pod-template-hash")


def _containers(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _waiting(pod: Mapping[str, Any]) -> list[str]:
    """What each container of the pod that is not ready waits for."""
    name, found = pod["metadata"]["name"], []
    for container in _containers(pod):
        if container["ready"]:
            continue
        waits = container["state"].get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or container["state"].get("terminated") or {}
        what = waits.get("reason") or ("not ready" if "running" in container["state"] else "restarting")
        if waits.get("message"):
            what += f": {waits['message']}"
        if ended:
            what += f", last exit code {ended['exitCode']}"
        if container.get("restartCount"):
            what += f", {container['restartCount']} restarts"
        found.append(f"pod {name}/{container['name']}: {what}")
    if not _containers(pod):
        found += [
            f"pod {name}: {c.get('reason')}: {c.get('message')}"
            for c in (pod.get("status") or {}).get("conditions") or []
            if c["status"] == "False" and c.get("message")
        ] or [f"pod {name}: starting"]
    return found


def _hopeless(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    for pod in pods:
        for container in _containers(pod):
            reason = (container["state"].get("waiting") or {}).get("reason")
            if reason in HOPELESS:
                return f"the image {container.get('image')} cannot be had"
            if not container["ready"] and container.get("restartCount", 0) >= CRASHES_MAX:
                return f"container {container['name']} keeps crashing ({container['restartCount']} restarts)"
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return f"{condition['reason']}: {condition.get('message', '')}"
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"{condition['reason']}: {condition.get('message', '')}"
    return ""
