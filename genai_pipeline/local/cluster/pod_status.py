"""The status of a pod and of its containers, as Kubernetes words it. Pure, except for the clock of `now`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.local.cluster.objects import Object, seconds_of, timestamp, transition

BACKOFF_MAX_S = 120.0
BACKOFF_FORGOTTEN_S = 600.0
INIT, OWN = "initContainerStatuses", "containerStatuses"


def now() -> str:
    return timestamp(time.time())


def of_container(pod: Object, container: Mapping[str, Any], field: str = OWN) -> dict[str, Any]:
    """The container's present status, or that of a new one."""
    known = pod.get("status", {}).get(field) or []
    reason = "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
    new = {
        "name": container["name"],
        "image": container["image"],
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": ""}},
        "lastState": {},
    }
    return next((dict(s) for s in known if s["name"] == container["name"]), new)


def after_exit(
    status: dict[str, Any], code: int, why: str, at: float, backoff_s: float, is_init: bool = False
) -> dict[str, Any]:
    """The status of a container that ended. Its first restart is immediate, later ones wait longer and longer.

    An init container that ended well is done.
    """
    started = status["state"]["running"]["startedAt"]
    terminated = {
        "exitCode": code,
        "reason": "Completed" if code == 0 else "Error",
        "message": why,
        "startedAt": started,
        "finishedAt": timestamp(at),
    }
    if is_init and code == 0:
        return status | {"ready": True, "state": {"terminated": terminated}}
    quiet = at - seconds_of(started) > BACKOFF_FORGOTTEN_S
    ended = status | {"ready": False, "started": False, "lastState": {"terminated": terminated}}
    wait_s = 0.0 if quiet else backoff(status["restartCount"], backoff_s)
    if not wait_s:
        return ended | {"state": {"terminated": terminated}}
    message = f"back-off {wait_s:g}s restarting failed container"
    return ended | {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": message}}}


def backoff(restarts: int, first_s: float) -> float:
    """Seconds to wait before the next restart after so many."""
    return 0.0 if not restarts else min(first_s * 2 ** (restarts - 1), BACKOFF_MAX_S)


def restart_at(status: Mapping[str, Any], backoff_s: float) -> float:
    """Unix time before which a container in back-off must not start; 0 for every other."""
    if status["state"].get("waiting", {}).get("reason") != "CrashLoopBackOff":
        return 0.0
    ended = seconds_of(status["lastState"]["terminated"]["finishedAt"])
    return ended + backoff(status["restartCount"], backoff_s)


def completed(status: Mapping[str, Any]) -> bool:
    """Return whether an init container is done."""
    return status["ready"] and "terminated" in status["state"]


def with_containers(
    pod: Object, first: Sequence[Mapping[str, Any]], statuses: Sequence[Mapping[str, Any]], at: float
) -> Object:
    """The pod with its containers' statuses and what follows from them. `first`: of its init containers."""
    running = any("running" in s["state"] or s["lastState"] for s in statuses)
    ready = all(s["ready"] for s in statuses)
    unready = ", ".join(s["name"] for s in statuses if not s["ready"])
    why = ("True", "", "") if ready else ("False", "ContainersNotReady", f"containers with unready status: {unready}")
    incomplete = " ".join(s["name"] for s in first if not completed(s))
    begun = ("True", "", "")
    if incomplete:
        begun = ("False", "ContainersNotInitialized", f"containers with incomplete status: [{incomplete}]")
    status = pod["status"] | {
        "phase": "Running" if running else "Pending",
        **({INIT: list(first)} if first else {}),
        OWN: list(statuses),
        "conditions": [
            transition(pod, "PodScheduled", "True", "", "", at),
            transition(pod, "Initialized", *begun, at),
            transition(pod, "ContainersReady", *why, at),
            transition(pod, "Ready", *why, at),
        ],
    }
    return pod | {"status": status}
