"""Start, find, stop and remove the objects of a release, which may be a candidate or live."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.k8s.render import (
    AGENT_KINDS,
    release_labels,
    render_agent,
    render_engine,
    render_namespace,
    render_store_access,
    service_url,
)
from genai_pipeline.rollout.switch.settling import pause, wait_reachable

AGENT_DEADLINE_S = 120
GONE_DEADLINE_S = 90


def raise_to_fewest(cluster: Cluster, release: Release, profile: Profile) -> None:
    """Start with the fewest agents that the autoscaler allows, if an autoscaler decides how many there are.

    What is rendered then names no number of replicas. Kubernetes starts one replica for a Deployment without a number,
    and scales down to one if the number is dropped.
    """
    if not profile.agent_is_autoscaled:
        return
    found = cluster.get("Deployment", release.agent_object_name)
    if found and (found["spec"].get("replicas") or 0) < profile.agent_replicas:
        cluster.scale(release.agent_object_name, profile.agent_replicas)


class Candidates:
    """Handle the objects of a release. Every method may be repeated."""

    def __init__(self, gateways: Gateways, profile: Profile, sleep: Callable[[float], None] = pause) -> None:
        self._gateways = gateways
        self._cluster = gateways.cluster
        self._profile = profile
        self._sleep = sleep

    def start_engine(self, spec: ModelSpec, release: Release, log: Log) -> str:
        """Apply the engine and wait until it is available.

        Returns: Its address.
        Raises: NotReady: it did not start in time; the message is the diagnosis.
        """
        self._cluster.apply(render_namespace(self._profile))
        self._apply_store_access()
        self._cluster.apply(render_engine(spec, release, self._profile))
        crash_point("rollout.candidate_applied")
        self._cluster.wait_ready(release.object_name, spec.serving.startup_deadline_s, log)
        url = self.engine_url(release)
        wait_reachable(lambda: self._gateways.inference(url).models(), self._sleep)
        return url

    def start_agent(self, spec: ModelSpec, release: Release, log: Log) -> str:
        """Apply the agent on the release's own engine and wait. Returns: Its address. Raises: NotReady."""
        engine = service_url(release.object_name, "engine", self._profile)
        self._cluster.apply(render_agent(spec, release, self._profile, engine))
        raise_to_fewest(self._cluster, release, self._profile)
        crash_point("rollout.agent_applied")
        self._cluster.wait_ready(release.agent_object_name, AGENT_DEADLINE_S, log)
        url = self.agent_url(release)
        wait_reachable(lambda: self._gateways.agent(url).release(), self._sleep)
        return url

    def engine_url(self, release: Release) -> str:
        return self._cluster.endpoint(release.object_name)

    def agent_url(self, release: Release) -> str:
        return self._cluster.endpoint(release.agent_object_name)

    def is_up(self, release: Release) -> bool:
        return self.replicas_up(release) > 0

    def replicas_up(self, release: Release) -> int:
        """Return how many replicas of its engine can answer."""
        return self._available(release.object_name)

    def agent_is_up(self, release: Release) -> bool:
        return self._available(release.agent_object_name) > 0

    def remove(self, release: Release, within_s: float = GONE_DEADLINE_S) -> None:
        """Delete the objects of a release, the agent first: it talks to the engine. Raises: NotReady: not in time."""
        for kind in AGENT_KINDS:
            self._cluster.delete(kind, release.agent_object_name, within_s)
        self._cluster.delete("Service", release.object_name)
        self._cluster.delete("Deployment", release.object_name, within_s)

    def stop(self, release: Release, within_s: float = GONE_DEADLINE_S) -> None:
        """Scale to zero, the agent first. The objects stay, so that a rollback only has to scale up."""
        self._scale_to_zero(release.agent_object_name, release_labels(release, "agent"), within_s)
        self._scale_to_zero(release.object_name, release_labels(release, "engine"), within_s)

    def tell_to_stop(self, release: Release) -> None:
        """Scale a release to zero without waiting."""
        for name in (release.agent_object_name, release.object_name):
            if self._cluster.get("Deployment", name):
                self._cluster.scale(name, 0)

    def stop_agent(self, release: Release, unless_live: str | None) -> None:
        """Scale the agent to zero, unless it has the traffic."""
        if release.id != unless_live:
            self._scale_to_zero(release.agent_object_name, release_labels(release, "agent"))

    def restart(self, spec: ModelSpec, release: Release, within_s: float = math.inf) -> None:
        """Scale a stopped release up. A running release is left as it is. Raises: NotFound, NotReady."""
        self._scale_up(release.object_name, spec.serving.replicas.min, min(within_s, spec.serving.startup_deadline_s))
        self._scale_up(release.agent_object_name, self._profile.agent_replicas, min(within_s, AGENT_DEADLINE_S))

    def revive(self, spec: ModelSpec, release: Release, log: Log) -> None:
        """Start a release from what is left of it: scale it up, or apply its objects again. Raises: NotReady."""
        names = (release.object_name, release.agent_object_name)
        if all(self._cluster.get(kind, name) for name in names for kind in ("Deployment", "Service")):
            self.restart(spec, release)
            return
        self.start_engine(spec, release, log)
        self.start_agent(spec, release, log)

    def is_warm(self, release: Release) -> bool:
        """Return whether engine and agent can take traffic at once."""
        names = (release.object_name, release.agent_object_name)
        return all(self._available(name) for name in names)

    def _available(self, deployment: str) -> int:
        found = self._cluster.get("Deployment", deployment)
        return (found or {}).get("status", {}).get("availableReplicas") or 0

    def _scale_to_zero(self, deployment: str, labels: Mapping[str, str], within_s: float = GONE_DEADLINE_S) -> None:
        if self._cluster.get("Deployment", deployment):
            self._cluster.scale(deployment, 0)
            crash_point("rollout.stopping")
            self._cluster.wait_gone(labels, within_s)

    def _scale_up(self, deployment: str, replicas: int, deadline_s: float) -> None:
        found = self._cluster.get("Deployment", deployment)
        if found and not found["spec"].get("replicas"):
            self._cluster.scale(deployment, replicas)
        self._cluster.wait_ready(deployment, deadline_s)

    def _apply_store_access(self) -> None:
        """Give engines the pipeline's keys for S3 if there is no Pod Identity."""
        keys = self._gateways.store_keys
        if self._profile.s3_endpoint and keys and not self._profile.has_pod_identity:
            self._cluster.apply(render_store_access(self._profile, keys.key_id, keys.secret))
