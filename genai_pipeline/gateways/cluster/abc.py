"""A cluster that speaks Kubernetes objects. Nothing outside this package knows which one it is."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genai_pipeline.core.errors import Refused

Manifest = Mapping[str, Any]
"""A Kubernetes object as parsed YAML."""

FIELD_MANAGER = "genai-pipeline"


def as_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as the API takes it. Raises Refused where it holds a value that JSON cannot hold."""
    try:
        return json.loads(json.dumps(manifest, default=_mapping_as_dict))
    except (TypeError, ValueError) as error:
        raise Refused(
            f"A manifest holds a value that JSON cannot hold: {error}.", "Quote dates and the like."
        ) from error


def _mapping_as_dict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(repr(value))


OURS_BY_DESIGN: Mapping[tuple[str, str], str] = {
    ("Service", "spec.selector"): "the selector is the traffic, which only a cut-over may move",
    ("Deployment", "spec.replicas"): "how many run is decided by the rollout, which scales up, drains and ends",
}
"""Kind and field -> why an apply takes it back from another field manager. Every other conflict is refused."""


@dataclass(frozen=True)
class Applied:
    """What an apply did to one object. `enforced` is False for kinds that the cluster only keeps."""

    kind: str
    name: str
    action: Literal["created", "configured", "unchanged"]
    enforced: bool = True
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterEvent:
    """An event about an object, newest last; `at` is ISO 8601 UTC."""

    at: str
    kind: str
    name: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Difference:
    """A field whose value in the cluster is not the one we render. `live` is None for a missing object."""

    kind: str
    name: str
    field: str
    wanted: Any
    live: Any


@dataclass(frozen=True)
class Headroom:
    """Room for more pods. None means unlimited or unknown to this cluster; `source` says where it was read."""

    memory_gib: float | None
    cpu: float | None
    gpus: float | None
    source: str


class Cluster(ABC):
    """kubectl's verbs. Every method raises ClusterUnavailable when the API does not answer.

    `kind` is the Kubernetes kind (``Deployment``); objects without a namespace in their metadata go
    to the gateway's own one.
    """

    namespace: str

    @abstractmethod
    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The object as the API has it (with status), or None."""

    @abstractmethod
    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Objects of a kind whose labels include `labels`, by name."""

    @abstractmethod
    def diff(self, objects: Sequence[Manifest], take_back: bool = False) -> list[Difference]:
        """What `apply` would change, without changing it."""

    @abstractmethod
    def events(self, kind: str, name: str) -> list[ClusterEvent]:
        """Events of the object, and of the pods of a Deployment."""

    @abstractmethod
    def logs(self, labels: Mapping[str, str], lines: int = 100) -> str:
        """The last lines of every container of the pods that match, of crashed predecessors too."""

    @abstractmethod
    def endpoint(self, service: str, port: int | None = None) -> str:
        """An ``http://host:port`` that reaches the service from here. Raises NotFound."""

    @abstractmethod
    def headroom(self) -> Headroom:
        """What is free for further pods, new nodes within the pools' limits included."""

    @abstractmethod
    def apply(self, objects: Sequence[Manifest], take_back: bool = False) -> list[Applied]:
        """Server-side apply as field manager `genai-pipeline`.

        Nothing is changed where one of the objects is refused. Kubernetes has no transaction: all are tried dry first,
        so what is refused only in the moment between, or lies in a Namespace that comes with the same apply, may
        leave those before it applied; applying again is safe. Fields of OURS_BY_DESIGN are taken back from others.

        Args:
            take_back: take every field that we render from whoever owns it, as one that somebody edited by hand.
        Raises Refused on an invalid object or a conflict, with the field and who owns it; NotFound without a namespace.
        """

    @abstractmethod
    def scale(self, deployment: str, replicas: int) -> None:
        """Set the replicas of a Deployment. Raises NotFound."""

    @abstractmethod
    def delete(self, kind: str, name: str, deadline_s: float = 60) -> None:
        """Delete the object and wait until it and its pods are gone; absent is fine. Raises NotReady."""

    @abstractmethod
    def wait_ready(
        self, deployment: str, deadline_s: float, on_progress: Callable[[str], None] = lambda _: None
    ) -> dict[str, Any]:
        """Wait until the Deployment's newest generation is available; returns it.

        Ends before the deadline when it can never come true. Raises NotReady, whose message is the
        diagnosis: what the pods wait for, the last events, the last log lines and the likely cause.
        """

    @abstractmethod
    def wait_gone(self, labels: Mapping[str, str], deadline_s: float) -> None:
        """Wait until no pod matches. Raises NotReady."""
