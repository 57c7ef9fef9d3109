"""What is known of an object that does not become ready, beside the object itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.pods import container_states, last_end


@dataclass(frozen=True)
class Evidence:
    """What was read for one look.

    Args:
        pods: the object's own.
        events: of the object, of what it makes and of the claims of its pods, newest last.
        logs: the last lines of the pods that crashed, or at the deadline those of one that is not ready.
        pools: the cluster's NodePools, or None where they cannot be read.
    """

    pods: Sequence[Mapping[str, Any]]
    events: Sequence[ClusterEvent] = ()
    logs: str = ""
    pools: Sequence[Mapping[str, Any]] | None = None

    @property
    def newest(self) -> Evidence:
        """Return the same of the pods of the newest template: only they show whether it can start."""
        alive = [p for p in self.pods if "deletionTimestamp" not in p["metadata"]]
        youngest = max(alive, key=lambda p: p["metadata"].get("creationTimestamp") or "", default={"metadata": {}})
        return replace(self, pods=[p for p in alive if _template(p) == _template(youngest)])

    @property
    def crashes(self) -> int:
        """Return how often the containers of these pods have crashed. Only the log of a crash says why."""
        found = [c for pod in self.pods for c in container_states(pod) if last_end(c) and not c["ready"]]
        return sum(max(1, c.get("restartCount", 0) + ("terminated" in c["state"])) for c in found)

    def events_of(self, pod: Mapping[str, Any]) -> list[ClusterEvent]:
        return [e for e in self.events if e.kind == "Pod" and e.name == pod["metadata"]["name"]]


def _template(pod: Mapping[str, Any]) -> str | None:
    return (pod["metadata"].get("labels") or {}).get("pod-template-hash")
