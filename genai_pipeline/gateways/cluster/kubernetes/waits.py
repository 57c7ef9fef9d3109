"""Waits for objects and pods by watching them. A hanging API server cannot stretch the deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from genai_pipeline.core.errors import ClusterUnavailable, GenaiError, NotReady
from genai_pipeline.gateways.cluster.abc import ClusterEvent, Waited
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.likeliest_cause import claims_of
from genai_pipeline.gateways.cluster.diagnosis.readiness import Readiness, not_ready
from genai_pipeline.gateways.cluster.diagnosis.waited_kinds import WAITED
from genai_pipeline.gateways.cluster.kubernetes.connection import Deadline
from genai_pipeline.gateways.cluster.kubernetes.events import cluster_events, moment
from genai_pipeline.gateways.cluster.kubernetes.pod_logs import PodLogs, selector_query
from genai_pipeline.gateways.cluster.kubernetes.watching import Watched, Watching
from genai_pipeline.gateways.cluster.pods import is_head, is_ready

SILENCE_S = 30.0
"""A watch on the object that is silent for so long is opened again. Its state decides the wait."""
DIAGNOSIS_S = 3.0
"""Seconds after the deadline for reading the logs that the diagnosis shows."""
LOG_LINES = 50


class ReadyWait:
    """One wait for one Deployment or RayService.

    `pools` lists the cluster's NodePools. It is called for each refusal of the scheduler: pools fill and settle.
    """

    def __init__(
        self,
        watching: Watching,
        kind: Waited,
        name: str,
        logs: PodLogs,
        deadline: Deadline,
        pools: Callable[[], list[dict[str, Any]]] = list,
    ) -> None:
        self._watching, self._name, self._logs, self._deadline = watching, name, logs, deadline
        self._kind, self._knowledge = kind, WAITED[kind]
        self._objects = watching.watch(kind, {"fieldSelector": f"metadata.name={name}"}, SILENCE_S)
        self._pods: Watched | None = None
        self._events: Watched | None = None
        self._list_pools = pools
        self._pools: list[dict[str, Any]] | None = None
        self._refusal_seen = ""
        self._crashes, self._crash_log = 0, ""

    def wait(self, on_progress: Callable[[str], None]) -> dict[str, Any]:
        """Wait until the newest generation is available, and return it. Raises NotReady, ClusterUnavailable."""
        said, progress = "", Readiness(False, "the cluster has not answered yet")
        while True:
            # In this order: the list may arrive between the two.
            listed, found = self._objects.listed, self._found()
            if found is not None:
                progress = self._progress_of(found)
                if progress.summary != said:
                    said = progress.summary
                    on_progress(said)
                if progress.done:
                    return found
            elif listed:
                raise NotReady(f"There is no {self._kind} {self._name} to wait for.", "Apply it first.")
            self._watch_the_rest(found)
            if found is not None and self._refusal_seen and (progress.hopeless or self._deadline.over):
                # The pools may have changed since they were last read.
                self._look_at_pools()
                progress = self._progress_of(found)
            if progress.hopeless or self._deadline.over:
                raise self._not_ready(found, progress)
            self._watching.wait(self._deadline.left_s)

    def _found(self) -> dict[str, Any] | None:
        return next(iter(self._objects.objects), None)

    def _watch_the_rest(self, found: Mapping[str, Any] | None) -> None:
        """Watch pods and events too, once the object is known to exist and not to be ready."""
        if found is None or self._pods is not None:
            return
        self._pods = self._watching.watch("Pod", {"labelSelector": selector_query(self._knowledge.selector(found))})
        self._events = self._watching.watch("Event", {})

    def _progress_of(self, found: Mapping[str, Any]) -> Readiness:
        seen = self._seen(found)
        newest = seen.newest
        if newest.crashes != self._crashes:
            # The log of each crash is read once. It may show a cause that no further start mends.
            crashed = [p for p in newest.pods if Evidence([p]).crashes]
            self._crashes, self._crash_log = newest.crashes, self._logs_of(crashed)
        refusal = next((f"{e.at} {e.message}" for e in reversed(seen.events) if e.reason == "FailedScheduling"), "")
        if refusal and refusal != self._refusal_seen:
            self._refusal_seen = refusal
            self._look_at_pools()
        return self._knowledge.readiness(found, replace(seen, logs=self._crash_log, pools=self._pools))

    def _look_at_pools(self) -> None:
        try:
            self._pools = self._list_pools()
        except GenaiError:
            self._pools = None  # we may not read them: the diagnosis then says less

    def _own_events(self, found: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[ClusterEvent]:
        """Return the events of the object, what it makes, and claims, without those of a predecessor."""
        begun = moment(found["metadata"].get("creationTimestamp") or "")
        claims = {name for pod in pods for name in claims_of(pod)}
        mine = [
            e
            for e in (self._events.objects if self._events else [])
            if is_about(e, self._kind, self._name) or _about_claim(e, claims)
        ]
        return [e for e in cluster_events(mine) if moment(e.at) >= begun or e.kind == "PersistentVolumeClaim"]

    def _seen(self, found: Mapping[str, Any]) -> Evidence:
        watched = self._pods.objects if self._pods else []
        pods = [p for p in watched if self._knowledge.owns(p, found["metadata"]["name"])]
        return Evidence(pods, self._own_events(found, pods), self._crash_log, self._pools)

    def _not_ready(self, found: Mapping[str, Any] | None, progress: Readiness) -> GenaiError:
        trouble = self._watching.trouble
        if found is None:
            return ClusterUnavailable(
                f"The cluster's API did not answer about {self._kind} {self._name} within {self._deadline.seconds:g} s"
                + (f": {trouble}." if trouble else "."),
                "Check that it runs and that the kubeconfig names it.",
            )
        why = progress.hopeless or f"not within {self._deadline.seconds:g} s"
        if trouble:
            why += f", and the cluster's API does not answer at the end: {trouble}"
        seen = self._seen(found)
        logs = self._logs_of(seen.pods)
        if not progress.hopeless:
            progress = self._knowledge.readiness(found, replace(seen, logs=self._crash_log or logs))
        return not_ready(self._kind, self._name, why, progress, seen.events, logs)

    def _logs_of(self, pods: Sequence[Mapping[str, Any]]) -> str:
        waiting = [p for p in pods if not is_ready(p)]
        # A worker of Ray waits for its head, which alone can say why.
        newest = sorted(waiting, key=lambda p: (is_head(p), p["metadata"].get("creationTimestamp") or ""))[-1:]
        try:
            return self._logs.of_pods(newest, LOG_LINES, Deadline(DIAGNOSIS_S))
        except GenaiError as error:
            return f"(no log: {error})"


def is_about(event: Mapping[str, Any], kind: str, name: str) -> bool:
    """Return whether an event is about the object, or about what it makes."""
    about = event.get("involvedObject") or {}
    return WAITED[kind].is_about(about.get("kind") or "", about.get("name") or "", name)


def wait_until_gone(watching: Watching, kind: str, selectors: Mapping[str, str], what: str, deadline: Deadline) -> None:
    """Wait until no such object is left. Raises NotReady: some are left; ClusterUnavailable: the API was silent."""
    watched = watching.watch(kind, selectors, SILENCE_S)
    while not watched.listed or watched.objects:
        if deadline.over:
            names = ", ".join(o["metadata"]["name"] for o in watched.objects)
            trouble = f" The API does not answer: {watching.trouble}." if watching.trouble else ""
            if not watched.listed:
                raise ClusterUnavailable(
                    f"The cluster's API did not answer about {what} within {deadline.seconds:g} s.{trouble}",
                    "Check that it runs and that the kubeconfig names it.",
                )
            raise NotReady(
                f"These {what} are still there after {deadline.seconds:g} s: {names}.{trouble}",
                "Wait for terminationGracePeriodSeconds and finalizers, or see their logs and events.",
            )
        watching.wait(deadline.left_s)


def _about_claim(event: Mapping[str, Any], claims: set[str]) -> bool:
    about = event.get("involvedObject") or {}
    return about.get("kind") == "PersistentVolumeClaim" and about.get("name") in claims
