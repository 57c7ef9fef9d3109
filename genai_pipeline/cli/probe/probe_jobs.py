"""Runs the Jobs of a probe side by side, and always removes them.

A Job because Kubernetes itself ends and removes it where this process was killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.gateways.cluster.abc import Cluster, ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.container_states import container_cause, pod_cause
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause
from genai_pipeline.gateways.cluster.diagnosis.likeliest_cause import refusal
from genai_pipeline.gateways.cluster.pods import Object, container_states, has_ended
from genai_pipeline.rollout.pools.node_probe import PROBE_LABEL

LABELS: Mapping[str, str] = {PROBE_LABEL: "doctor"}
JOB = "batch.kubernetes.io/job-name"
"""Label that Kubernetes gives the pods of a Job."""
DEADLINE_S = 120.0
GONE_S = 30.0
LOOK_S = 0.5


@dataclass(frozen=True)
class Seen:
    """What was seen of one Job at the end. `pod` is None where the cluster made none."""

    pod: Object | None
    events: Sequence[ClusterEvent]

    @property
    def container(self) -> Object:
        """Return the state of its container, or an empty mapping where kubelet has not begun with it."""
        return next(iter(container_states(self.pod)), {}) if self.pod else {}

    @property
    def has_image(self) -> bool:
        """Return whether the node has the image: kubelet creates a container only then."""
        state = self.container.get("state") or {}
        waits = (state.get("waiting") or {}).get("reason") or ""
        return "running" in state or "terminated" in state or waits in ("CreateContainerError", "RunContainerError")

    @property
    def cause(self) -> Cause | None:
        """Return why it does not run, or None where that is not known."""
        if self.pod is None:
            return next((c for e in reversed(self.events) if (c := refusal(e.message))), None)
        return container_cause(self.pod, self.events) or pod_cause(self.pod, self.events)

    @property
    def said(self) -> str:
        """Return what kubelet or the API server says in its own words, in one line."""
        waits = (self.container.get("state") or {}).get("waiting") or {}
        failed = [e.message for e in self.events if e.type == "Warning" and not e.message.startswith("Error: ")]
        return " ".join((failed[-1] if failed else waits.get("message") or "").split())


class ProbeJobs:
    """Runs Jobs.

    Args:
        deadline_s: seconds for all of them together.
    """

    def __init__(
        self,
        cluster: Cluster,
        deadline_s: float = DEADLINE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self.deadline_s = cluster, deadline_s
        self._sleep, self._clock = sleep, clock

    def run(self, jobs: Sequence[Object], answered: Callable[[str, Seen], bool]) -> dict[str, Seen]:
        """Return what was seen of each Job, by its name.

        Args:
            answered: (name, what was seen) -> whether more waiting tells no more.
        Raises: ClusterUnavailable, Refused: the API takes no Job.
        """
        self.remove_leftovers()
        names = [job["metadata"]["name"] for job in jobs]
        end = self._clock() + self.deadline_s
        try:
            self._cluster.apply(jobs)
            while True:
                seen = self._look(names)
                if all(answered(name, found) for name, found in seen.items()) or self._clock() >= end:
                    return seen
                self._sleep(LOOK_S)
        finally:
            self._remove(names)

    def remove_leftovers(self) -> None:
        """Remove what a probe that was killed left behind."""
        left = {pod["metadata"]["labels"].get(JOB) for pod in self._cluster.list("Pod", LABELS)}
        self._remove(sorted(filter(None, left)))

    def _look(self, names: Sequence[str]) -> dict[str, Seen]:
        pods = {pod["metadata"]["labels"].get(JOB): pod for pod in self._cluster.list("Pod", LABELS)}
        return {name: self._seen(name, pods.get(name)) for name in names}

    def _seen(self, name: str, pod: Object | None) -> Seen:
        """Return the events too, where the pod itself does not say enough."""
        if pod is None:
            return Seen(None, self._cluster.events("Job", name))
        seen = Seen(pod, ())
        return (
            seen
            if seen.has_image or has_ended(pod)
            else Seen(pod, self._cluster.events("Pod", pod["metadata"]["name"]))
        )

    def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            with suppress(GenaiError):  # its deadline and its time to live remove it, too
                self._cluster.delete("Job", name, None)
        if names:
            with suppress(GenaiError):
                self._cluster.wait_gone(LABELS, GONE_S)
