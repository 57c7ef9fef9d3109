"""One empty namespace of a cluster in which the image `test/echo:1` is tests/fakes/echo_server.py."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from genai_pipeline.core.errors import NotFound
from genai_pipeline.gateways.cluster.abc import Cluster, Manifest

IMAGE = "test/echo:1"
HEALTHY = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}


def until(condition: Callable[[], Any], deadline_s: float = 20) -> Any:
    """The condition's first true value; a red test at the deadline."""
    end, pause = time.monotonic() + deadline_s, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {condition.__doc__ or condition}"
        pause.wait(0.03)
    return value


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def secret(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data}


def with_spec(deployment: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """The Deployment with other fields of its spec."""
    return {**deployment, "spec": {**deployment["spec"], **fields}}


@dataclass
class World(ABC):
    """`python` is an interpreter within the containers; `other_manager` writes in another field manager's name."""

    cluster: Cluster
    other_manager: Cluster
    python: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=10))

    @abstractmethod
    def create_by_hand(self, manifest: Manifest) -> None:
        """As `kubectl create` does: by somebody else, not by server-side apply."""

    @abstractmethod
    def with_identity(self, *rules: Mapping[str, Any]) -> Cluster:
        """A client that may do in this namespace what the rules of a Role say, and nothing else."""

    @abstractmethod
    def with_bad_credentials(self) -> Cluster:
        """A client whose token the cluster does not know."""

    def deployment(self, name: str = "m", says: str = "one", replicas: int = 1, **container: Any) -> dict[str, Any]:
        """A Deployment whose pods answer `says`; `container` overrides fields of its one container."""
        labels = {"app": name, "says": says}
        base = {
            "name": "main",
            "image": IMAGE,
            "args": ["$(POD_IP)", "8000", "--name", says],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": [{"name": "http", "containerPort": 8000}],
            "readinessProbe": HEALTHY | {"failureThreshold": 1},
        }
        pod = {"terminationGracePeriodSeconds": 5, "containers": [base | container]}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    def service(self, name: str = "m", **selector: str) -> dict[str, Any]:
        spec = {"selector": selector or {"app": name}, "ports": [{"port": 8000, "targetPort": "http"}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

    def up(self, *objects: dict[str, Any]) -> None:
        self.cluster.apply(objects)
        for obj in objects:
            if obj["kind"] == "Deployment":
                self.cluster.wait_ready(obj["metadata"]["name"], 60)

    def ask(self, path: str = "/", service: str = "m") -> str:
        """One request over a new connection."""
        headers = {"Connection": "close"}
        return self.http.get(self.cluster.endpoint(service) + path, headers=headers).raise_for_status().text

    def says(self, service: str = "m") -> str:
        """What the Service's pods answer; nothing where none does."""
        try:
            return self.ask(service=service)
        except httpx.HTTPError:
            return ""

    def post(self, path: str, service: str = "m") -> None:
        """A request that may be the pod's last."""
        with suppress(httpx.HTTPError):
            self.http.post(self.cluster.endpoint(service) + path, headers={"Connection": "close"})

    def refuses(self, service: str = "m") -> bool:
        """Whether the Service has no pod to answer."""
        try:
            self.ask(service=service)
        except httpx.HTTPStatusError as error:
            return error.response.status_code == 503  # of the API server, where it passes requests on
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
            return True
        except NotFound:
            return False
        return False

    def pods(self, name: str = "m") -> list[dict[str, Any]]:
        return self.cluster.list("Pod", {"app": name})

    def address(self, name: str = "m") -> str:
        """Of the only pod, past every Service."""
        (pod,) = self.pods(name)
        return f"http://{pod['status']['podIP']}:8000"

    def container(self, name: str = "m") -> dict[str, Any]:
        """The status of the only container of the only pod that is not ending."""
        (pod,) = [p for p in self.pods(name) if "deletionTimestamp" not in p["metadata"]]
        return (pod.get("status", {}).get("containerStatuses") or [{"state": {}, "restartCount": 0, "ready": False}])[0]

    def object(self, kind: str, name: str) -> dict[str, Any]:
        found = self.cluster.get(kind, name)
        assert found is not None, f"there is no {kind} {name}"
        return found
