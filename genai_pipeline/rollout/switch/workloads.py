"""What runs a part of a release: how it is waited for, counted, stopped, started again and removed.

An agent and an engine of vLLM's own server are Deployments: stopping means no replicas. What scales a Deployment goes
before it stops, or it would start it again. An engine of Ray is a RayService, whose head cannot be scaled to zero:
stopping means that the object goes, after the drain.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from genai_pipeline.core.errors import NotFound, NotReady, UnknownKind
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.abc import Cluster, Waited
from genai_pipeline.gateways.cluster.diagnosis.ray_readiness import adds_replicas, serves
from genai_pipeline.gateways.cluster.pods import FEWEST_REPLICAS, bound_of, is_ready
from genai_pipeline.k8s.engine_autoscaler import SCALER_KINDS
from genai_pipeline.k8s.render import Objects, components_of, release_labels

Render = Callable[[], Objects]

NO_KUBERAY = "Install KubeRay 1.5 (docs/ray.md), or set `serving.engine: vllm`."
NO_KEDA = (
    "Install KEDA 2.17 or later (docs/rollouts.md), or set serving.replicas.max to serving.replicas.min. "
    "`engine: ray` brings an autoscaler of its own."
)
HEAD_IS_ALONE = (
    "The Ray head is a single point of failure: its workers end with it. Set GENAI_RAY_REDIS to a Redis or Valkey, "
    "which keeps its state."
)


class ReleaseWorkload(ABC):
    """One object that makes pods of a release. Every method may be repeated."""

    kind: Waited

    def __init__(self, cluster: Cluster, release: Release, component: str) -> None:
        self._cluster, self._model = cluster, release.model
        self.name = release.object_name if component == "engine" else release.agent_object_name
        self._labels = release_labels(release, component)

    def found(self) -> dict[str, Any] | None:
        """Return the object, or None without one."""
        return self._cluster.get(self.kind, self.name)

    def wait(self, deadline_s: float, log: Log = lambda _: None) -> None:
        """Wait until it serves. Raises: NotReady."""
        self._cluster.wait_ready(self.name, deadline_s, log, kind=self.kind)

    def remove(self, within_s: float) -> None:
        """Delete it and wait until its pods are gone. Raises: NotReady."""
        self._cluster.delete(self.kind, self.name, within_s)

    def refuse_unknown(self, objects: Objects) -> None:
        """Raises: UnknownKind: the cluster does not know the kind."""
        return

    def apply(self, objects: Objects, within_s: float) -> None:
        """Apply the rendered objects. Raises: Refused, NotReady: what is in their way did not end within `within_s`."""
        self._cluster.apply(objects)

    def adds_replicas(self) -> bool:
        """Return whether it is adding replicas by itself just now."""
        return False

    def raise_to_fewest(self, objects: Objects) -> None:
        """Start the fewest replicas that an autoscaler allows, after these objects were applied."""
        return

    def hold(self, fewest: int, objects: Objects) -> None:
        """Let an autoscaler keep at least so many replicas, and start them. 0: only those of the model file.

        Args:
            objects: of the release, as they are rendered.
        """
        return

    @abstractmethod
    def replicas_up(self) -> int:
        """Return how many of its pods can answer."""

    @abstractmethod
    def stop(self, within_s: float) -> None:
        """Stop its pods and wait until they are gone. Raises: NotReady."""

    @abstractmethod
    def tell_to_stop(self) -> None:
        """Stop its pods without waiting."""

    @abstractmethod
    def start_again(self, replicas: int, render: Render, deadline_s: float) -> None:
        """Start it if it is stopped, and wait until it serves. Raises: NotReady.

        Args:
            replicas: how many to start where the object is still there.
            render: its objects, as the record has them.
        """

    @contextmanager
    def _lack_named(self, asks: str, lacks: str, remedy: str) -> Iterator[None]:
        """Say what the model file asks for, and who brings the kind that the cluster does not know."""
        try:
            yield
        except UnknownKind as error:
            raise UnknownKind(
                f"{self._model} has {asks}, and the cluster has no {lacks}: {error.what}", remedy
            ) from error


class DeploymentWorkload(ReleaseWorkload):
    """A Deployment. It stays when it is stopped, so that starting it again is one request."""

    kind = "Deployment"

    def replicas_up(self) -> int:
        return ((self.found() or {}).get("status") or {}).get("availableReplicas") or 0

    def stop(self, within_s: float) -> None:
        if self.found():
            self._cluster.scale(self.name, 0)
            crash_point("rollout.stopping")
            self._cluster.wait_gone(self._labels, within_s)

    def tell_to_stop(self) -> None:
        if self.found():
            self._cluster.scale(self.name, 0)

    def scale_up_to(self, fewest: int) -> None:
        """Start so many replicas at once, if fewer are asked for. Kubernetes starts one where none are named."""
        found = self.found()
        if found and (found["spec"].get("replicas") or 0) < fewest:
            self._cluster.scale(self.name, fewest)

    def start_again(self, replicas: int, render: Render, deadline_s: float) -> None:
        found = self.found()
        if found and not found["spec"].get("replicas"):
            self._cluster.scale(self.name, replicas)
        self.wait(deadline_s)


class ScaledWorkload(DeploymentWorkload):
    """A Deployment whose number of replicas KEDA chooses. Its ScaledObject comes with it, and goes before it stops.

    KEDA starts a target that has fewer replicas than the minimum, and a stopped one has none.
    """

    def apply(self, objects: Objects, within_s: float) -> None:
        with self._keda_named():
            self._cluster.apply(objects)
        self.raise_to_fewest(objects)

    def refuse_unknown(self, objects: Objects) -> None:
        with self._keda_named(), suppress(NotFound):  # the namespace comes with the first release
            self._cluster.diff(_scalers(objects), take_back=True)

    def adds_replicas(self) -> bool:
        found = self.found() or {"spec": {}}
        return (found["spec"].get("replicas") or 0) > self.replicas_up()

    def raise_to_fewest(self, objects: Objects) -> None:
        fewest = next((bound_of(o, FEWEST_REPLICAS) for o in objects if o["kind"] == self.kind), None) or 1
        if fewest > 1:
            self.scale_up_to(fewest)

    def hold(self, fewest: int, objects: Objects) -> None:
        scalers = copy.deepcopy(_scalers(objects))
        for spec in (o["spec"] for o in scalers if o["kind"] == "ScaledObject"):
            spec["minReplicaCount"] = spec["fallback"]["replicas"] = max(fewest, spec["minReplicaCount"])
        self._cluster.apply(scalers)
        found = self.found()
        if scalers and found and 0 < found["spec"]["replicas"] < fewest:
            self._cluster.scale(self.name, fewest)

    def stop(self, within_s: float) -> None:
        self._remove_scaler(within_s)
        crash_point("rollout.scaler_removed")
        super().stop(within_s)

    def tell_to_stop(self) -> None:
        self._remove_scaler(None)
        super().tell_to_stop()

    def start_again(self, replicas: int, render: Render, deadline_s: float) -> None:
        with self._keda_named():
            self._cluster.apply(_scalers(render()))
        crash_point("rollout.scaler_applied")  # what is up is not started again, and would stay without it
        super().start_again(replicas, render, deadline_s)

    def _remove_scaler(self, within_s: float | None) -> None:
        for kind in SCALER_KINDS:
            try:
                self._cluster.delete(kind, self.name, within_s)
            except NotReady as error:
                raise NotReady(error.what, "KEDA's operator lets it go: see whether it runs, and its log.") from error

    def _keda_named(self) -> AbstractContextManager[None]:
        return self._lack_named("serving.replicas.max above min", "KEDA", NO_KEDA)


def _scalers(objects: Objects) -> Objects:
    return [o for o in objects if o["kind"] in SCALER_KINDS]


class RayWorkload(ReleaseWorkload):
    """A RayService. The record renders it again, since a stopped one is gone."""

    kind = "RayService"

    def found(self) -> dict[str, Any] | None:
        """Return the object, or None without one and while it is being deleted."""
        found = super().found()
        return found if found and "deletionTimestamp" not in found["metadata"] else None

    def apply(self, objects: Objects, within_s: float) -> None:
        """Leave out a service that serves, since Ray restarts its replicas on an edit; and one that does not differ.

        Any other one is removed first. What is applied to a service that is being deleted goes with it.
        """
        found = super().found()
        if found is not None:
            ends = "deletionTimestamp" in found["metadata"]
            if not ends and (serves(found) or not self._differs(objects)):
                objects = [o for o in objects if o["kind"] != self.kind]
            else:
                self.remove(within_s)
        with self._kuberay_named():
            self._cluster.apply(objects)

    def refuse_unknown(self, objects: Objects) -> None:
        with self._kuberay_named(), suppress(NotFound):  # the namespace comes with the first release
            self._differs(objects)

    def _differs(self, objects: Objects) -> bool:
        return bool(self._cluster.diff([o for o in objects if o["kind"] == self.kind], take_back=True))

    def _kuberay_named(self) -> AbstractContextManager[None]:
        return self._lack_named("serving.engine: ray", "KubeRay", NO_KUBERAY)

    def replicas_up(self) -> int:
        """KubeRay may call a service ready whose head is gone. So its worker pods are counted, too."""
        found = self.found()
        if not found or not serves(found):
            return 0
        return sum(is_ready(pod) for pod in self._cluster.list("Pod", self._labels))

    def adds_replicas(self) -> bool:
        return adds_replicas(self.found() or {})

    def remove(self, within_s: float) -> None:
        """Delete it and wait until its workers are gone. Raises: NotReady.

        With a Redis the object goes before them: KubeRay lets it go once it has cleaned the Redis up.
        """
        super().remove(within_s)
        self._cluster.wait_gone(self._labels, within_s)

    def stop(self, within_s: float) -> None:
        self.tell_to_stop()
        crash_point("rollout.stopping")
        self.remove(within_s)

    def tell_to_stop(self) -> None:
        self._cluster.delete(self.kind, self.name, None)

    def start_again(self, replicas: int, render: Render, deadline_s: float) -> None:
        self.apply(render(), deadline_s)
        crash_point("rollout.started_again")
        self.wait(deadline_s)


def workload_of(cluster: Cluster, release: Release, component: str = "engine") -> ReleaseWorkload:
    """Return what runs this part of the release."""
    kind: type[ReleaseWorkload] = DeploymentWorkload
    if component == "engine" and release.engine == "ray":
        kind = RayWorkload
    elif component == "engine" and release.scales:
        kind = ScaledWorkload
    return kind(cluster, release, component)


def workloads_of(cluster: Cluster, release: Release) -> list[ReleaseWorkload]:
    """Return what runs the release, what others ask first."""
    return [workload_of(cluster, release, component) for component in components_of(release)]
