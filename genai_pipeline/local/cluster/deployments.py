"""What a Deployment needs next, and what it says of itself. Pure: objects in, decisions out.

The arithmetic is that of Kubernetes' rolling update (surge up, then down, unhealthy old pods first); a
ReplicaSet is only the label `pod-template-hash`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.local.cluster.objects import (
    HASH_LABEL,
    Object,
    condition,
    pod_ready,
    seconds_of,
    template_hash,
    terminating,
    timestamp,
    transition,
)


@dataclass(frozen=True)
class PodChanges:
    """Pods to create from the newest template, and pods to delete."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def next_changes(deployment: Object, pods: Sequence[Object], now: float) -> PodChanges:
    """`pods` are all of the Deployment's, terminating ones too."""
    view = _View(deployment, pods, now)
    if view.recreate:
        return _recreate(view)
    return _rolling(view)


def status_of(deployment: Object, pods: Sequence[Object], now: float, up_since: float = 0.0) -> dict[str, Any]:
    """The status as Kubernetes reports it; the present one tells since when nothing moves.

    Args:
        up_since: seconds of the epoch at which this cluster started. While it was down, nothing could move.
    """
    view = _View(deployment, pods, now)
    ready = [p for p in view.alive if pod_ready(p)]
    counts = {
        "replicas": len(view.alive),
        "updatedReplicas": len(view.new),
        "readyReplicas": len(ready),
        "availableReplicas": len(view.available(view.alive)),
    }
    counts["unavailableReplicas"] = max(0, view.replicas - counts["availableReplicas"])
    generation = deployment["metadata"]["generation"]
    moved = {**counts, "observedGeneration": generation}
    before = deployment.get("status", {})
    still = all(before.get(key) == value for key, value in moved.items())
    since = seconds_of(condition(deployment, "Progressing").get("lastUpdateTime")) if still else now
    progressing = _progressing(view, deployment, counts, max(since, up_since), now)
    conditions = [_available(view, deployment, now), progressing]
    return moved | {"conditions": conditions}


class _View:
    def __init__(self, deployment: Object, pods: Sequence[Object], now: float) -> None:
        spec = deployment["spec"]
        strategy = spec.get("strategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        self.now = now
        self.replicas: int = spec["replicas"]
        self.recreate = strategy.get("type") == "Recreate"
        self.min_ready_s: int = spec.get("minReadySeconds", 0)
        self.surge = _share(rolling.get("maxSurge", "25%"), self.replicas, math.ceil)
        self.unavailable = _share(rolling.get("maxUnavailable", "25%"), self.replicas, math.floor)
        if not self.surge and not self.unavailable:
            self.unavailable = 1
        wanted = template_hash(spec["template"])
        self.alive = [p for p in pods if not terminating(p)]
        self.terminating = [p for p in pods if terminating(p)]
        self.new = [p for p in self.alive if p["metadata"]["labels"].get(HASH_LABEL) == wanted]
        self.old = [p for p in self.alive if p["metadata"]["labels"].get(HASH_LABEL) != wanted]
        self.wanted_hash = wanted

    def available(self, pods: Sequence[Object]) -> list[Object]:
        """Ready for at least minReadySeconds."""

        def since(pod: Object) -> float:
            return seconds_of(condition(pod, "Ready").get("lastTransitionTime"))

        return [p for p in pods if pod_ready(p) and self.now - since(p) >= self.min_ready_s]

    def expendable_first(self, pods: Sequence[Object]) -> list[Object]:
        """Those that serve least first; among equals the youngest."""
        youngest = sorted(pods, key=lambda p: p["metadata"]["creationTimestamp"], reverse=True)
        return sorted(youngest, key=pod_ready)


def _recreate(view: _View) -> PodChanges:
    if view.old:
        return PodChanges(delete=tuple(view.old))
    old_still_ending = [p for p in view.terminating if p["metadata"]["labels"].get(HASH_LABEL) != view.wanted_hash]
    if old_still_ending:
        return PodChanges()
    surplus = view.expendable_first(view.new)[: max(0, len(view.new) - view.replicas)]
    return PodChanges(max(0, view.replicas - len(view.new)), tuple(surplus))


def _rolling(view: _View) -> PodChanges:
    room = view.replicas + (view.surge if view.old else 0) - len(view.alive)
    create = max(0, min(view.replicas - len(view.new), room))
    delete = view.expendable_first(view.new)[: max(0, len(view.new) - view.replicas)]
    new_unavailable = len(view.new) - len(view.available(view.new))
    least = view.replicas - view.unavailable
    may_end = len(view.alive) - least - new_unavailable
    if may_end > 0:
        serving = view.available(view.old)
        broken = [p for p in view.old if p not in serving][:may_end]
        spare = len(serving) + len(view.available(view.new)) - least
        delete += broken + view.expendable_first(serving)[: max(0, min(spare, may_end - len(broken)))]
    return PodChanges(create, tuple(delete))


def _share(value: int | str, replicas: int, rounded: Any) -> int:
    return rounded(int(value.rstrip("%")) * replicas / 100) if isinstance(value, str) else value


def _available(view: _View, deployment: Object, now: float) -> dict[str, Any]:
    have = len(view.available(view.alive))
    need = view.replicas - (0 if view.recreate else view.unavailable)
    ok = have >= need
    reason = "MinimumReplicasAvailable" if ok else "MinimumReplicasUnavailable"
    message = f"{have} of {view.replicas} replicas are available; at least {need} must be."
    return transition(deployment, "Available", str(ok), reason, message, now)


def _progressing(view: _View, deployment: Object, counts: dict[str, int], since: float, now: float) -> dict[str, Any]:
    before = condition(deployment, "Progressing")
    complete = counts["updatedReplicas"] == counts["replicas"] == counts["availableReplicas"] == view.replicas
    # A rollout that was complete once does not fail later for a pod that stops being ready.
    observed = deployment.get("status", {}).get("observedGeneration") == deployment["metadata"]["generation"]
    complete |= observed and before.get("reason") == "NewReplicaSetAvailable" and not view.old
    deadline_s = deployment["spec"].get("progressDeadlineSeconds", 600)
    if complete:
        ok, reason, message = True, "NewReplicaSetAvailable", "The newest template is rolled out."
    elif now - since > deadline_s:
        ok, reason, message = False, "ProgressDeadlineExceeded", f"Nothing moved for {deadline_s} s."
    else:
        ok, reason = True, "ReplicaSetUpdated"
        message = f"{counts['updatedReplicas']} updated, {counts['availableReplicas']} available of {view.replicas}."
    made = transition(deployment, "Progressing", str(ok), reason, message, now)
    return made | {"lastUpdateTime": timestamp(since)}
