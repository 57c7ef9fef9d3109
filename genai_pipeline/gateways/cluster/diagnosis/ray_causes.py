"""Finds the likeliest cause of a RayService that does not serve: from KubeRay's events, pods, logs and Serve. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause, known_cause, likely_cause
from genai_pipeline.gateways.cluster.diagnosis.likeliest_cause import causes_of_pod, likeliest, refusal
from genai_pipeline.gateways.cluster.pods import is_head, is_ready

WAIT_FOR_HEAD = "wait-gcs-ready"
"""The init container that KubeRay gives each worker."""
_PENDING = re.compile(
    r"Resources required for each replica: (?P<asked>.+?), total resources available: (?P<free>.+?)\. "
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OF_KUBERAY = ("RayService", "RayCluster")
_MAKES_PODS = ("FailedToCreateHeadPod", "FailedToCreateWorkerPod")


def ray_cause(service: Mapping[str, Any], seen: Evidence) -> Cause | None:
    """Return the likeliest cause, a final one before the others, or None where no cause is known.

    Args:
        seen: its pods are heads and workers that are not being deleted.
    """
    waiting = [p for p in seen.pods if _waits_for_a_replica(p)]
    found = [
        *_of_lost_head(service, seen.pods),
        *_of_operator(service, seen),
        *_of_logs(seen),
        *_of_pods([p for p in seen.pods if p not in waiting], seen),
        *_of_serve(service.get("status") or {}),
        *_of_pods(waiting, seen),
        *_of_condition(service, seen.pods),
    ]
    return likeliest(found)


def _of_lost_head(service: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
    """Yield that the head is gone. KubeRay makes its successor within a second, which is younger than the workers."""
    heads, serving = [p for p in pods if is_head(p)], [p for p in pods if not is_head(p) and is_ready(p)]
    succeeds = serving and min(map(_made, serving)) < min(map(_made, heads), default="")
    if not pods or any(is_ready(head) for head in heads) or (heads and not succeeds):
        return
    if (service.get("spec") or {}).get("rayClusterConfig", {}).get("gcsFaultToleranceOptions"):
        yield Cause("The Ray head is gone", "KubeRay makes a new one, and the workers go on. See why the head ended.")
        return
    yield Cause(
        "The Ray head is gone, and with it the state of the cluster (GCS)",
        "KubeRay makes a new one. Set GENAI_RAY_REDIS, so that workers outlive their head.",
    )


def _made(pod: Mapping[str, Any]) -> str:
    return pod["metadata"].get("creationTimestamp") or ""


def _of_operator(service: Mapping[str, Any], seen: Evidence) -> Iterator[Cause]:
    """Yield what KubeRay says of objects that it cannot make, the newest first; and that it says nothing at all.

    What it tried again with success is over: pods are there, or Serve has answered.
    """
    over = (*_MAKES_PODS, "FailedToCreateRayCluster") if seen.pods else ()
    over += ("FailedToUpdateServeApplications",) if applications(service.get("status") or {}) else ()
    said = [e for e in seen.events if e.kind in _OF_KUBERAY]
    for event in reversed([e for e in said if e.type == "Warning"]):
        text = f"{event.reason}: {event.message}"
        cause = (refusal(event.message) if event.reason in _MAKES_PODS else None) or known_cause("kuberay", text)
        if cause and (cause.final or event.reason not in over):
            yield cause
    if not said and not seen.pods and "observedGeneration" not in (service.get("status") or {}):
        yield Cause(
            "KubeRay has not looked at the RayService yet",
            "Check that its operator runs, leads, and watches this namespace (`kubectl get pods -A | grep kuberay`).",
        )


def _of_logs(seen: Evidence) -> Iterator[Cause]:
    # A head that waits for its Redis says so for a minute before it ends.
    cause = known_cause("ray_logs", seen.logs) or (likely_cause(seen.logs) if seen.crashes else None)
    if cause:
        yield cause


def _of_pods(pods: Sequence[Mapping[str, Any]], seen: Evidence) -> Iterator[Cause]:
    """Yield the causes of pods that are not ready: the head's first, since every worker waits for it."""
    head_serves = any(is_head(p) and is_ready(p) for p in seen.pods)
    for pod in sorted(pods, key=lambda p: not is_head(p)):
        if is_ready(pod):
            continue
        if _waits_for_head(pod):
            if head_serves:
                yield Cause(
                    "The worker cannot reach the Ray head, which is ready",
                    "Check the NetworkPolicy between head and workers on port 6379, and the cluster's DNS.",
                )
            continue
        yield from (_of_head(c) if is_head(pod) else c for c in causes_of_pod(pod, seen))


def _waits_for_a_replica(pod: Mapping[str, Any]) -> bool:
    """Return whether it is a worker that runs: it gets ready with a replica, of which Serve says more."""
    states = (pod.get("status") or {}).get("containerStatuses") or []
    runs = bool(states) and all("running" in c["state"] and not c.get("restartCount") for c in states)
    return runs and not is_head(pod) and not is_ready(pod)


def _waits_for_head(pod: Mapping[str, Any]) -> bool:
    first = (pod.get("status") or {}).get("initContainerStatuses") or []
    return any(c["name"] == WAIT_FOR_HEAD and "running" in c["state"] for c in first)


def _of_head(cause: Cause) -> Cause:
    """Return the cause with the remedy of a head: the model file's resources are those of the workers."""
    what = f"The Ray head: {cause.what}"
    if "OOMKilled" in cause.what:
        return Cause(what, "Raise the memory limit of the Ray head, which is not `serving.resources`.", cause.final)
    return replace(cause, what=what)


def _of_serve(status: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield what Serve says. What it gave up on is final."""
    for app in applications(status).values():
        deployments = (app.get("serveDeploymentStatuses") or {}).values()
        for state in [*deployments, app]:
            cause = _of_message(message_of(state))
            if cause:
                yield replace(cause, final=cause.final or state.get("status") == "DEPLOY_FAILED")


def message_of(state: Mapping[str, Any]) -> str:
    """Return the message of an application or a deployment, without the colours that Ray writes."""
    return _COLOUR.sub("", state.get("message") or "")


def _of_condition(service: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
    """Yield that KubeRay does not see what runs. It writes such errors to its own log only, and not into the status."""
    serving = any(is_ready(pod) and not is_head(pod) for pod in pods)
    if serving and not is_ready(service):
        yield Cause(
            "A worker serves, and KubeRay does not call the RayService ready",
            "See the log of KubeRay's operator. It makes no Service where the head has no port named `serve`.",
        )


def _of_message(message: str) -> Cause | None:
    """Return the cause that a message of Serve shows. vLLM's own errors are in it, as the replica raised them."""
    pending = _PENDING.search(message)
    if pending:
        return _pending(pending["asked"], pending["free"])
    known = known_cause("serve", message)
    if known and known.final:
        return known
    return likely_cause(message) or known


def _pending(asked: str, free: str) -> Cause:
    """Return which resource a replica waits for."""
    try:
        wanted, left = json.loads(asked), json.loads(free)
    except ValueError:  # Serve writes UNKNOWN where it does not know
        return Cause(f"A replica waits for resources ({asked})", "Add worker pods, or see why they are not ready.")
    if isinstance(wanted, list):
        return Cause(
            f"A placement group waits for {len(wanted)} bundles ({asked})",
            "Each bundle needs a worker pod that is ready: see the pods above, and `serving.gpu` in the model file.",
        )
    short = sorted(name for name, amount in wanted.items() if amount > left.get(name, 0.0))
    name = "GPU" if "GPU" in short else short[0] if short else "CPU"
    lower = "`serving.gpu.count`" if name == "GPU" else "the CPUs of the replica, or raise num-cpus of the workers"
    return Cause(
        f"A replica waits for {name}: {wanted.get(name, 0):g} asked, {left.get(name, 0):g} free in the Ray cluster",
        f"See whether the worker pods are ready. If they are, lower {lower}.",
    )


def applications(status: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the Serve applications by name: of the cluster that starts, else of the one that serves."""
    parts = (status.get(key) or {} for key in ("pendingServiceStatus", "activeServiceStatus"))
    return next((part["applicationStatuses"] for part in parts if part.get("applicationStatuses")), {})
