"""KubernetesCluster: the gateway to a real Kubernetes. It puts the parts together; each topic has its module."""

from __future__ import annotations

import atexit
import builtins
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.gateways.cluster.abc import (
    FIELD_MANAGER,
    Applied,
    Cluster,
    ClusterEvent,
    Difference,
    Headroom,
    Manifest,
    Permission,
    Waited,
)
from genai_pipeline.gateways.cluster.diagnosis.waited_kinds import WAITED
from genai_pipeline.gateways.cluster.kinds import KINDS, ApiRequest, kind_called
from genai_pipeline.gateways.cluster.kubernetes.apply import Applier
from genai_pipeline.gateways.cluster.kubernetes.connection import PATIENCE_S, CallCounter, Connection, Deadline
from genai_pipeline.gateways.cluster.kubernetes.events import cluster_events
from genai_pipeline.gateways.cluster.kubernetes.headroom import headroom_of
from genai_pipeline.gateways.cluster.kubernetes.pod_lines import lines_of
from genai_pipeline.gateways.cluster.kubernetes.pod_logs import PodLogs, labels_selector
from genai_pipeline.gateways.cluster.kubernetes.relay import Relay
from genai_pipeline.gateways.cluster.kubernetes.waits import ReadyWait, is_about, wait_until_gone
from genai_pipeline.gateways.cluster.kubernetes.watching import Watching

Access = Literal["proxy", "direct"]
POOLS_S = 2.0
"""Seconds for listing the node pools during a wait. They only add to its diagnosis."""


class KubernetesCluster(Cluster):
    """Thread-safe; connects when it is first used.

    Args:
        namespace: of objects whose metadata has none.
        kubeconfig: None takes $KUBECONFIG, then the pod's own account, then ~/.kube/config.
        field_manager: in whose name fields are written.
        access: how `endpoint` reaches a Service: "direct" by its ClusterIP, "proxy" through the API server. None
            is direct within the cluster, else proxy.
        patience_s: for how long a call outside a wait is repeated while the API does not answer.
    """

    def __init__(
        self,
        namespace: str,
        kubeconfig: Path | None = None,
        field_manager: str = FIELD_MANAGER,
        access: Access | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.namespace = namespace
        self._connection = Connection(kubeconfig, patience_s)
        self._applier = Applier(self._connection, namespace, field_manager)
        self._logs = PodLogs(self._connection, namespace)
        self._access = access or ("direct" if os.environ.get("KUBERNETES_SERVICE_HOST") else "proxy")
        self._relays: dict[str, Relay] = {}
        self._lock = threading.Lock()

    @property
    def calls(self) -> CallCounter:
        """The requests sent to the API server so far, without those of the relays."""
        return self._connection.calls

    def close(self) -> None:
        """End the relays and the connections. The object connects again when it is used again."""
        atexit.unregister(self.close)
        with self._lock:
            relays, self._relays = self._relays, {}
        for relay in relays.values():
            relay.close()
        self._connection.close()

    # -- queries

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        answer = self._connection.call(kind_called(kind).request("get", self.namespace, name), accept=(404,))
        return answer.content if answer.status < 300 else None

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> builtins.list[dict[str, Any]]:
        found = self._listed(kind, [("labelSelector", labels_selector(labels))] if labels else [])
        return sorted(found, key=lambda o: o["metadata"]["name"])

    def knows(self, kind: str) -> bool:
        found = kind_called(kind)
        request = ApiRequest("get", f"the API {found.api_version}", found.root)
        answer = self._connection.call(request, accept=(404,))
        resources = answer.content.get("resources") or [] if answer.status < 300 else []
        return found.plural in [r["name"] for r in resources]

    def may(self, permission: Permission) -> bool:
        review = KINDS["SelfSubjectAccessReview"]
        resource, _, subresource = permission.resource.partition("/")
        asked = {"verb": permission.verb, "group": permission.group, "resource": resource, "subresource": subresource}
        where = {"namespace": permission.namespace, "name": permission.name}
        body = {
            "apiVersion": review.api_version,
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked | where},
        }
        answer = self._connection.call(review.request("create", ""), body=body)
        return bool(answer.content["status"]["allowed"])

    def diff(self, objects: Sequence[Manifest], take_back: bool = False) -> builtins.list[Difference]:
        return self._applier.diff(objects, take_back)

    def events(self, kind: str, name: str) -> builtins.list[ClusterEvent]:
        if kind in WAITED and kind != "Pod":  # a pod makes nothing that has events of its own
            return cluster_events(e for e in self._listed("Event", []) if is_about(e, kind, name))
        about = f"involvedObject.kind={kind},involvedObject.name={name}"
        return cluster_events(self._listed("Event", [("fieldSelector", about)]))

    def logs(self, labels: Mapping[str, str], lines: int = 100) -> str:
        return self._logs.of_pods(self.list("Pod", labels), lines)

    def lines_of(self, pod: str, deadline_s: float) -> Iterator[str]:
        return lines_of(self._connection, self.namespace, pod, Deadline(deadline_s))

    @property
    def by_proxy(self) -> bool:
        return self._access == "proxy"

    def endpoint(self, service: str, port: int | None = None) -> str:
        found, port = self._service(service, port)
        if self._access == "proxy":
            return self._relay(service, port)
        address = found["spec"].get("clusterIP")
        if address in (None, "", "None"):
            raise Refused(f"Service {service} has no address of its own.", "Give it a clusterIP, or use its pods.")
        return f"http://{f'[{address}]' if ':' in address else address}:{port}"

    def address(self, service: str) -> str:
        if self._access != "proxy":
            return self.endpoint(service)
        return f"http://{service}.{self.namespace}.svc:{self._service(service)[1]}"

    def headroom(self) -> Headroom:
        nodes = self._listed("Node", [])
        running = "status.phase!=Succeeded,status.phase!=Failed"
        pods = self._listed("Pod", [("fieldSelector", running)], namespace="")
        return headroom_of(nodes, pods, self._listed("NodePool", []), self._listed("ResourceQuota", []))

    # -- changes

    def apply(self, objects: Sequence[Manifest], take_back: bool = False) -> builtins.list[Applied]:
        return self._applier.apply(objects, take_back)

    def scale(self, deployment: str, replicas: int) -> None:
        self._applier.scale(deployment, replicas)

    def delete(self, kind: str, name: str, deadline_s: float | None = 60) -> None:
        found, deadline = kind_called(kind), None if deadline_s is None else Deadline(deadline_s)
        # Foreground: the object stays until what it made is gone, so that its end is theirs too.
        how = {"propagationPolicy": "Foreground" if found.with_dependents else "Background"}
        request = found.request("delete", self.namespace, name)
        answer = self._connection.call(request, body=how, deadline=deadline, accept=(404,))
        if deadline and answer.status < 300 and answer.content.get("kind") != "Status":
            self._wait_gone(kind, {"fieldSelector": f"metadata.name={name}"}, f"{kind} {name}", deadline)

    # -- waits

    def wait_ready(
        self,
        name: str,
        deadline_s: float,
        on_progress: Callable[[str], None] = lambda _: None,
        kind: Waited = "Deployment",
    ) -> dict[str, Any]:
        deadline = Deadline(deadline_s)
        with Watching(self._connection, self.namespace, deadline) as watching:
            return ReadyWait(watching, kind, name, self._logs, deadline, self._pools_now).wait(on_progress)

    def wait_gone(self, labels: Mapping[str, str], deadline_s: float) -> None:
        self._wait_gone(
            "Pod", {"labelSelector": labels_selector(labels)}, f"pods with {dict(labels)}", Deadline(deadline_s)
        )

    # -- the rest

    def _wait_gone(self, kind: str, selectors: Mapping[str, str], what: str, deadline: Deadline) -> None:
        with Watching(self._connection, self.namespace, deadline) as watching:
            wait_until_gone(watching, kind, selectors, what, deadline)

    def _pools_now(self) -> builtins.list[dict[str, Any]]:
        return self._listed("NodePool", [], deadline=Deadline(POOLS_S))

    def _listed(
        self,
        kind: str,
        query: Sequence[tuple[str, Any]],
        namespace: str | None = None,
        deadline: Deadline | None = None,
    ) -> builtins.list[dict[str, Any]]:
        """Return the objects: an empty list without the CRD of the kind. An empty `namespace` means all of them."""
        request = kind_called(kind).request("list", self.namespace if namespace is None else namespace)
        answer = self._connection.call(request, query, deadline=deadline, accept=(404,))
        items = (answer.content.get("items") or []) if answer.status < 300 else []
        return [{"kind": kind, "apiVersion": KINDS[kind].api_version} | item for item in items]

    def _service(self, name: str, port: int | None = None) -> tuple[Manifest, int]:
        """Return a Service, and `port` or its first one. Raises NotFound: it is not there, or has no such port."""
        found = self.get("Service", name)
        ports = [p["port"] for p in found["spec"].get("ports") or []] if found else []
        if found is None or not ports or (port is not None and port not in ports):
            what = f"port {port or ''} of Service {name}" if found else f"Service {name}"
            has = f"It has {', '.join(map(str, ports)) or 'none'}." if found else "Apply it first."
            raise NotFound(f"There is no {what} in namespace {self.namespace}.", has)
        return found, port or ports[0]

    def _relay(self, service: str, port: int) -> str:
        prefix = f"{KINDS['Service'].path(self.namespace)}/http:{service}:{port}/proxy"
        with self._lock:
            if prefix not in self._relays:
                if not self._relays:
                    atexit.register(self.close)
                self._relays[prefix] = Relay(self._connection, prefix)
            return self._relays[prefix].url
