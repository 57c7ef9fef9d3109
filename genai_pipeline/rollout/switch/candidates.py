"""Start, find, stop and remove the objects of a release, which may be a candidate or live."""

from __future__ import annotations

import math
from collections.abc import Callable

from genai_pipeline.core.errors import NotReady
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.k8s.engine_autoscaler import SCALER_KINDS, refuse_unscalable
from genai_pipeline.k8s.engine_cache import keeps_cache
from genai_pipeline.k8s.render import (
    AGENT_KINDS,
    ENGINE_KINDS,
    render_agent,
    render_engine,
    render_namespace,
    render_store_access,
    service_url,
)
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.cache_pins import CachePins
from genai_pipeline.rollout.switch.drain import Drained, drain
from genai_pipeline.rollout.switch.settling import pause, wait_reachable, why_unsettled
from genai_pipeline.rollout.switch.standby import Standby
from genai_pipeline.rollout.switch.workloads import DeploymentWorkload, workload_of, workloads_of

AGENT_DEADLINE_S = 120
REPLICAS_POLL_S = 1.0
GONE_DEADLINE_S = 180
"""Of a pod on Ray: its own drain, then Ray's, then KubeRay's clean-up of the Redis."""


def start_fewest_agents(cluster: Cluster, release: Release, profile: Profile) -> None:
    """Start with the fewest agents that the autoscaler allows, if an autoscaler decides how many there are.

    What is rendered then names no number of replicas. Kubernetes starts one replica for a Deployment without a number,
    and scales down to one if the number is dropped.
    """
    if profile.agent_is_autoscaled:
        DeploymentWorkload(cluster, release, "agent").scale_up_to(profile.agent_replicas)


class Candidates:
    """Handle the objects of a release. Every method may be repeated."""

    def __init__(self, gateways: Gateways, profile: Profile, sleep: Callable[[float], None] = pause) -> None:
        self._gateways = gateways
        self._cluster = gateways.cluster
        self._profile = profile
        self._sleep = sleep
        self._standby = Standby(gateways)
        self._pins = CachePins(gateways.cluster, Records(gateways.store), profile)

    def refuse_unknown(self, spec: ModelSpec, release: Release) -> None:
        """Ask before anything of it starts, and before the live release makes room for it.

        Raises: UnknownKind: the cluster lacks what runs or scales such an engine. Refused: nothing can read its load.
        """
        refuse_unscalable(spec.serving, self._profile)
        workload_of(self._cluster, release).refuse_unknown(render_engine(spec, release, self._profile))

    def start_engine(self, spec: ModelSpec, release: Release, log: Log) -> str:
        """Apply the engine and wait until it is available.

        Returns: Its address.
        Raises: NotReady: it did not start in time; the message is the diagnosis.
        """
        engine = workload_of(self._cluster, release)
        self._cluster.apply(render_namespace(self._profile))
        self._apply_store_access()
        if keeps_cache(spec.serving, self._profile) or release.sleeps:
            self._pins.apply(release, log)
        engine.apply(render_engine(spec, release, self._profile), GONE_DEADLINE_S)
        crash_point("rollout.candidate_applied")
        self._standby.wake(release, spec.serving.startup_deadline_s, log)
        engine.wait(spec.serving.startup_deadline_s, log)
        url = self.engine_url(release)
        wait_reachable(lambda: self._gateways.inference(url).models(), self._sleep)
        return url

    def start_agent(self, spec: ModelSpec, release: Release, log: Log) -> str:
        """Apply the agent on the release's own engine and wait. Returns: Its address. Raises: NotReady."""
        engine = service_url(release.object_name, "engine", self._profile)
        self._cluster.apply(render_agent(spec, release, self._profile, engine))
        start_fewest_agents(self._cluster, release, self._profile)
        crash_point("rollout.agent_applied")
        workload_of(self._cluster, release, "agent").wait(AGENT_DEADLINE_S, log)
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
        return workload_of(self._cluster, release).replicas_up()

    def adds_replicas(self, release: Release) -> bool:
        """Return whether its engine is adding replicas by itself just now."""
        return workload_of(self._cluster, release).adds_replicas()

    def agent_is_up(self, release: Release) -> bool:
        return workload_of(self._cluster, release, "agent").replicas_up() > 0

    def remove(self, release: Release, within_s: float = GONE_DEADLINE_S) -> None:
        """Delete the objects of a release, the agent first: it talks to the engine. Raises: NotReady: not in time."""
        for kind in AGENT_KINDS if release.has_agent else ():
            self._cluster.delete(kind, release.agent_object_name, within_s)
        for kind in (*(SCALER_KINDS if release.scales else ()), *ENGINE_KINDS[release.engine]):
            self._cluster.delete(kind, release.object_name, within_s)
        self._pins.remove(release)
        if release.sleeps:
            self._cluster.delete("Service", release.standby_name, within_s)
        if release.mounts_weights:
            self._cluster.delete("PersistentVolumeClaim", release.object_name, within_s)
            self._cluster.delete("PersistentVolume", release.volume_name(self._profile.namespace), within_s)

    def stop(self, release: Release, within_s: float = GONE_DEADLINE_S) -> None:
        """Stop the pods, the agent's first. What a rollback needs to start them again stays."""
        for workload in reversed(workloads_of(self._cluster, release)):
            workload.stop(within_s)

    def stop_agent(self, release: Release, within_s: float = GONE_DEADLINE_S) -> None:
        """Stop the agent's pods, if the release has an agent."""
        if release.has_agent:
            workload_of(self._cluster, release, "agent").stop(within_s)

    def tell_to_stop(self, release: Release) -> None:
        """Stop the pods without waiting."""
        for workload in reversed(workloads_of(self._cluster, release)):
            workload.tell_to_stop()

    def let_sleep(self, release: Release, log: Log) -> bool:
        """Let a drained release sleep instead of stopping it. Returns: False: it does not sleep; the log says why."""
        return self._standby.sleep(release, log)

    def is_asleep(self, release: Release) -> bool:
        return self._standby.is_asleep(release)

    def wake(self, release: Release, within_s: float, log: Log) -> None:
        """Wake a release that sleeps, and wait until it can take traffic. What answers wrongly is stopped.

        Raises: NotReady: it cannot take traffic in time.
        """
        if self._standby.wake(release, within_s, log):
            for workload in workloads_of(self._cluster, release):
                workload.wait(within_s)

    def restart(self, spec: ModelSpec, release: Release, within_s: float = math.inf, log: Log = lambda _: None) -> None:
        """Start a release that is stopped or sleeps. A running release is left as it is. Raises: NotFound, NotReady."""
        engine = workload_of(self._cluster, release)
        if keeps_cache(spec.serving, self._profile) and not engine.replicas_up():
            self._pins.apply(release)
        deadline_s = min(within_s, spec.serving.startup_deadline_s)
        self._standby.wake(release, deadline_s, log)
        engine.start_again(spec.serving.replicas.min, lambda: render_engine(spec, release, self._profile), deadline_s)
        if release.has_agent:
            agent = workload_of(self._cluster, release, "agent")
            agent.start_again(self._profile.agent_replicas, list, min(within_s, AGENT_DEADLINE_S))

    def revive(self, spec: ModelSpec, release: Release, log: Log) -> None:
        """Start a release from what is left of it, or apply its objects again. Raises: NotReady."""
        workloads = workloads_of(self._cluster, release)
        if all(each.found() and self._cluster.get("Service", each.name) for each in workloads):
            self.restart(spec, release, log=log)
            return
        self.start_engine(spec, release, log)
        if release.has_agent:
            self.start_agent(spec, release, log)

    def hold(self, spec: ModelSpec, release: Release, like: Release) -> int:
        """Keep at least as many replicas of its engine as `like` has, within the model file's most, until `let_scale`.

        An autoscaler keeps few of a release without traffic, and a switch brings all of the traffic at once.

        Returns: The number, or 0 for a release without such an autoscaler.
        """
        if not release.scales:
            return 0
        fewest = min(self.replicas_up(like), spec.serving.replicas.max)
        workload_of(self._cluster, release).hold(fewest, render_engine(spec, release, self._profile))
        return fewest

    def let_scale(self, spec: ModelSpec, release: Release) -> None:
        """Leave the number of replicas to the autoscaler again."""
        if release.scales:
            workload_of(self._cluster, release).hold(0, render_engine(spec, release, self._profile))

    def take_over(self, spec: ModelSpec, release: Release, before: Release, log: Log) -> None:
        """Start as many replicas as the release with the traffic has, and wait for them. Raises: NotReady."""
        fewest = self.hold(spec, release, before)
        crash_point("rollout.replicas_held")

        def missing() -> str:
            up = self.replicas_up(release) if fewest else 0
            return "" if up >= fewest else f"{up} of {fewest} replicas of {release.id} are up"

        if why := missing():
            log(f"{why}; {before.id} has as many, and its traffic comes at once")
            why = why_unsettled(missing, 1, REPLICAS_POLL_S, spec.serving.startup_deadline_s, self._sleep)
        if why:
            self.let_scale(spec, release)
            raise NotReady(f"The traffic did not move: {why}.", "`kubectl describe pods` shows what they wait for.")

    def drain(self, release: Release, deadline_s: float) -> Drained:
        """Wait until its engine has neither requests nor kept connections. What does not run is drained."""
        replicas = self.replicas_up(release)
        if not replicas:
            return Drained()
        return drain(self._gateways.inference(self.engine_url(release)), self._gateways.metrics, replicas, deadline_s)

    def is_warm(self, release: Release) -> bool:
        """Return whether all that serves the release can take traffic at once."""
        up = all(each.replicas_up() for each in workloads_of(self._cluster, release))
        return up and not self.is_asleep(release)  # its pod may look ready for a second more

    def _apply_store_access(self) -> None:
        """Give engines the pipeline's keys for S3 if there is no Pod Identity."""
        keys = self._gateways.store_keys
        if self._profile.s3_endpoint and keys and not self._profile.has_pod_identity:
            self._cluster.apply(render_store_access(self._profile, keys.key_id, keys.secret))
