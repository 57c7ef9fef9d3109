"""Tells whether a Deployment is ready, and why an object never will be. Pure; for both clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import NotReady
from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause, likely_cause
from genai_pipeline.gateways.cluster.diagnosis.likeliest_cause import cause_of
from genai_pipeline.gateways.cluster.pods import FEWEST_REPLICAS, bound_of, condition, container_states, last_end

CRASHES_MAX = 3
"""After so many crashes without a known cause a wait ends. A final cause ends it after the first crash."""
EVENTS_SHOWN, LINES_SHOWN = 5, 15


@dataclass(frozen=True)
class Readiness:
    """How far an object is.

    Args:
        hopeless: why waiting longer does not help; empty while it may.
        cause: the likeliest cause so far.
        told: what an application said of itself, where it says more than the logs of pods.
    """

    done: bool
    summary: str
    hopeless: str = ""
    cause: Cause | None = None
    told: str = ""

    @classmethod
    def not_yet(cls, summary: str, cause: Cause | None, hopeless: str, told: str = "") -> Readiness:
        """Return that it is not ready. A final cause says why it never will be, before `hopeless` does."""
        return cls(False, summary, cause.what if cause and cause.final else hopeless, cause, told)


def readiness_of(deployment: Mapping[str, Any], seen: Evidence) -> Readiness:
    """Return how far the newest generation of a Deployment is."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    replicas = spec.get("replicas", 1)
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    counts = [status.get(key) or 0 for key in ("updatedReplicas", "replicas", "availableReplicas")]
    newest = seen.newest.pods
    waiting = [w for pod in newest for w in waits_of(pod)]
    summary = f"{counts[2]} of {replicas} replicas available, {counts[0]} updated"
    if waiting:
        summary += "; " + "; ".join(sorted(set(waiting)))
    fewest = bound_of(deployment, FEWEST_REPLICAS)
    # What an autoscaler adds meanwhile may find no room for long. So its fewest are waited for, and no old pod.
    enough = counts == [replicas] * 3
    if fewest is not None:
        enough = counts[0] == counts[1] and counts[2] >= min(fewest, replicas)
    if observed and enough:
        return Readiness(True, summary)
    if not observed:
        return Readiness(False, summary)
    cause = cause_of(deployment, seen)
    return Readiness.not_yet(summary, cause, _hopeless(deployment, newest, cause))


def not_ready(
    kind: str, name: str, why: str, progress: Readiness, events: Sequence[ClusterEvent], logs: str
) -> NotReady:
    """Return the error with the diagnosis: what the pods wait for, events, log lines, likely cause, remedy."""
    warnings = [e for e in events if e.type == "Warning"] or list(events)
    shown = [f"  {e.reason}: {e.message}" for e in warnings[-EVENTS_SHOWN:]]
    logs = "\n".join(filter(None, [logs, progress.told]))
    lines = [f"  {line}" for line in logs.splitlines()[-LINES_SHOWN:]]
    # A final cause that the objects show is certain. Else the log knows best, and then the texts of events.
    final = progress.cause if progress.cause and progress.cause.final else None
    cause = final or likely_cause(logs) or progress.cause or likely_cause("\n".join([progress.summary, *shown]))
    parts = [f"{kind} {name} is not ready: {why} ({progress.summary})."]
    if cause:
        stop = "" if cause.what.endswith("?") else "."
        parts.append(f"Likely cause: {cause.what}{stop}")
    if shown:
        parts += ["Last events:", *shown]
    if lines:
        parts += ["Last log lines:", *lines]
    remedy = cause.remedy if cause else f"See the events and logs of {kind} {name}."
    return NotReady("\n".join(parts), f"\n{remedy}")


def waits_of(pod: Mapping[str, Any]) -> list[str]:
    """Return what each container of the pod that is not ready waits for."""
    name, found = pod["metadata"]["name"], []
    for container in container_states(pod):
        if container["ready"]:
            continue
        waits = container["state"].get("waiting") or {}
        ended = last_end(container)
        what = waits.get("reason") or ("not ready" if "running" in container["state"] else "restarting")
        if waits.get("message"):
            what += f": {waits['message']}"
        if ended:
            what += f", last exit code {ended['exitCode']}"
            what += f" ({ended['reason']})" if ended.get("reason") not in (None, "Error", "Completed") else ""
        if container.get("restartCount"):
            what += f", {container['restartCount']} restarts"
        found.append(f"pod {name}/{container['name']}: {what}")
    if not container_states(pod):
        found += [
            f"pod {name}: {c.get('reason')}: {c.get('message')}"
            for c in (pod.get("status") or {}).get("conditions") or []
            if c["status"] == "False" and c.get("message")
        ] or [f"pod {name}: starting"]
    return found


def keeps_crashing(pods: Sequence[Mapping[str, Any]], most: int = CRASHES_MAX) -> str:
    """Return which container has crashed so often that a wait ends, or an empty text without one."""
    for pod in pods:
        for container in container_states(pod):
            if not container["ready"] and container.get("restartCount", 0) >= most:
                return f"container {container['name']} keeps crashing ({container['restartCount']} restarts)"
    return ""


def _hopeless(deployment: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], cause: Cause | None) -> str:
    if crashing := keeps_crashing(pods):
        return crashing
    stuck = condition(deployment, "Progressing", "False")
    if not stuck and not cause:
        stuck = condition(deployment, "ReplicaFailure", "True")
    return f"{stuck['reason']}: {stuck.get('message', '')}" if stuck else ""
