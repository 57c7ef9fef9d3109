"""The interface to a cluster of Kubernetes objects. Only this package knows which cluster it is."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.cluster.free_resources import FreeNode

Manifest = Mapping[str, Any]
"""A Kubernetes object as parsed YAML."""

FIELD_MANAGER = "genai-pipeline"

Waited = Literal["Deployment", "RayService", "Pod"]
"""Kinds that `wait_ready` can wait for. A Pod runs to its end: it is waited for until its container has started."""


def as_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as the API takes it. Raises Refused where it holds a value that JSON cannot hold."""
    try:
        return json.loads(json.dumps(manifest, default=mapping_as_dict))
    except (TypeError, ValueError) as error:
        raise Refused(
            f"A manifest holds a value that JSON cannot hold: {error}.", "Quote dates and the like."
        ) from error


def mapping_as_dict(value: Any) -> dict[Any, Any]:
    """Convert what `json.dumps` does not know. Raises: TypeError: it is not a mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(repr(value))


OURS_BY_DESIGN: Mapping[tuple[str, str], str] = {
    ("Service", "spec.selector"): "the selector decides the traffic, which only a cut-over may move",
    ("Deployment", "spec.replicas"): "the rollout decides how many run: it scales up, drains and ends",
}
"""Kind and field -> why an apply takes the field from another manager. Every other conflict is refused."""


@dataclass(frozen=True)
class Applied:
    """What an apply did to one object. `enforced` is False for kinds that the cluster stores and does not act on."""

    kind: str
    name: str
    action: Literal["created", "configured", "unchanged"]
    enforced: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterEvent:
    """An event about an object; `at` is ISO 8601 in UTC. Lists of them have the newest last."""

    at: str
    kind: str
    name: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Difference:
    """A field whose value in the cluster is not the rendered one. A missing object has no `live` value."""

    kind: str
    name: str
    field: str
    wanted: Any
    live: Any


@dataclass(frozen=True)
class Headroom:
    """Room for more pods. None means unlimited, or unknown to this cluster.

    Args:
        gpus: of this machine. A cluster with nodes leaves it out, because a GPU is of use on its own node only.
        source: where it was read.
        nodes: what each node has left, or an empty list where the cluster has no nodes to choose from.
    """

    memory_gib: float | None
    cpu: float | None
    gpus: float | None
    source: str
    nodes: Sequence[FreeNode] = ()


@dataclass(frozen=True)
class Permission:
    """A verb on a resource, in the words of a Role: `get` on `pods/log` of group "".

    Args:
        namespace: empty for all namespaces, and for what has none.
        name: of the one object, or empty for any.
    """

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {kind}{f' {self.name}' if self.name else ''}"


class Cluster(ABC):
    """The verbs of kubectl. Every method raises ClusterUnavailable when the API does not answer.

    `kind` is the Kubernetes kind (`Deployment`). Objects without a namespace in their metadata belong to
    `namespace`.
    """

    namespace: str

    @property
    def by_proxy(self) -> bool:
        """Return whether `endpoint` leads through the API server, which adds its own time to each request."""
        return False

    @abstractmethod
    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return the object as the API has it, with its status, or None where there is no such object."""

    @abstractmethod
    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the objects of a kind whose labels include `labels`, ordered by name."""

    @abstractmethod
    def knows(self, kind: str) -> bool:
        """Return whether the API has this kind: some need an operator or a CRD."""

    @abstractmethod
    def may(self, permission: Permission) -> bool:
        """Return whether the identity of this process has a permission."""

    @abstractmethod
    def diff(self, objects: Sequence[Manifest], take_back: bool = False) -> list[Difference]:
        """Return what `apply` would change, without changing it."""

    @abstractmethod
    def events(self, kind: str, name: str) -> list[ClusterEvent]:
        """Return the events of the object; of a Deployment or a RayService those of what it makes too."""

    @abstractmethod
    def logs(self, labels: Mapping[str, str], lines: int = 100) -> str:
        """Return the last lines of every container of the pods that match, and of containers that crashed before."""

    def lines_of(self, pod: str, deadline_s: float) -> Iterator[str]:
        """Yield each line of a pod's log as it is written, once, until its container has ended.

        Raises: NotReady: the pod is gone, or has not ended in time. ClusterUnavailable, Refused.
        """
        raise Refused(f"This cluster follows no logs, so not those of {pod}.", "Use a Kubernetes cluster.")

    @abstractmethod
    def endpoint(self, service: str, port: int | None = None) -> str:
        """Return an `http://host:port` that reaches the Service from this process. Raises NotFound."""

    def address(self, service: str) -> str:
        """Return an `http://host:port` to show to people: it is still right when this process has ended.

        Raises: NotFound.
        """
        return self.endpoint(service)

    @abstractmethod
    def headroom(self) -> Headroom:
        """Return what is free for further pods, new nodes within the pools' limits included."""

    @abstractmethod
    def apply(self, objects: Sequence[Manifest], take_back: bool = False) -> list[Applied]:
        """Apply objects server-side as field manager `genai-pipeline`.

        Nothing is changed where one of the objects is refused: all are tried in a dry run first. Kubernetes has no
        transaction. So where an object passes its dry run and is refused afterwards, those before it stay applied. The
        same is true of objects in a Namespace of the same apply. Applying again is safe. Fields of OURS_BY_DESIGN are
        taken from other field managers.

        Args:
            take_back: take every rendered field from its owner, for example a field that was edited by hand.
        Raises:
            Refused: an invalid object, or a conflict; it names the field and its owner.
            NotFound: the namespace does not exist.
        """

    @abstractmethod
    def scale(self, deployment: str, replicas: int) -> None:
        """Set the replicas of a Deployment. Raises NotFound."""

    @abstractmethod
    def delete(self, kind: str, name: str, deadline_s: float | None = 60) -> None:
        """Delete the object and wait until it and its pods are gone. It may be absent. Raises NotReady.

        Args:
            deadline_s: None: does not wait.
        """

    @abstractmethod
    def wait_ready(
        self,
        name: str,
        deadline_s: float,
        on_progress: Callable[[str], None] = lambda _: None,
        kind: Waited = "Deployment",
    ) -> dict[str, Any]:
        """Wait until the newest generation of a Deployment or a RayService serves, or a Pod runs, and return it.

        The wait ends before the deadline when the object can never become ready.

        Args:
            on_progress: called with a sentence whenever the state changes.
        Raises:
            NotReady: its message is the diagnosis: what the pods wait for, events, log lines, likely cause, remedy.
        """

    @abstractmethod
    def wait_gone(self, labels: Mapping[str, str], deadline_s: float) -> None:
        """Wait until no pod matches. Raises NotReady."""
