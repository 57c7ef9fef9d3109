"""LocalCluster: the Cluster of one machine, as seen by the pipeline. It talks to the daemon over loopback HTTP."""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genai_pipeline.core import errors
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
    as_json,
)
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.readiness import not_ready
from genai_pipeline.gateways.cluster.diagnosis.waited_kinds import WAITED
from genai_pipeline.gateways.cluster.kinds import kind_called
from genai_pipeline.gateways.cluster.pods import is_ready

GUARD = {"X-Genai-Cluster": "1"}
TIMEOUT_S = 45.0
WATCH_S = 10.0


class LocalCluster(Cluster):
    """Args: url: of the daemon, `profile.cluster_endpoint`. Thread-safe; connects when it is first used."""

    def __init__(self, url: str, namespace: str, manager: str = FIELD_MANAGER) -> None:
        import httpx

        self.url, self.namespace, self._manager = url, namespace, manager
        self._http = httpx.Client(base_url=url, headers=GUARD, timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        self._http.close()

    # -- queries

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        return self._call("GET", f"/objects/{kind}/{name}")

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> builtins.list[dict[str, Any]]:
        return self._listed(kind, labels)[0]

    def knows(self, kind: str) -> bool:
        return bool(kind_called(kind))  # it keeps every kind that the pipeline uses

    def may(self, permission: Permission) -> bool:
        return True  # it has one identity

    def diff(self, objects: Sequence[Manifest], take_back: bool = False) -> builtins.list[Difference]:
        return [
            Difference(result["kind"], result["name"], field, wanted, live)
            for result in self._apply(objects, dry_run=True, take_back=take_back)
            for field, wanted, live in result["differences"]
        ]

    def events(self, kind: str, name: str) -> builtins.list[ClusterEvent]:
        return [
            ClusterEvent(e["at"], e["kind"], e["name"], e["type"], e["reason"], _counted(e))
            for e in self._call("GET", f"/events/{kind}/{name}")
        ]

    def logs(self, labels: Mapping[str, str], lines: int = 100) -> str:
        return self._call("GET", "/logs", {"labels": json.dumps(dict(labels)), "lines": lines})

    def endpoint(self, service: str, port: int | None = None) -> str:
        return self._call("GET", f"/endpoint/{service}", {"port": port} if port else {})

    def headroom(self) -> Headroom:
        return Headroom(**self._call("GET", "/headroom"))

    # -- changes

    def apply(self, objects: Sequence[Manifest], take_back: bool = False) -> builtins.list[Applied]:
        results = self._apply(objects, dry_run=False, take_back=take_back)
        return [Applied(r["kind"], r["name"], r["action"], r["enforced"]) for r in results]

    def scale(self, deployment: str, replicas: int) -> None:
        self._call("PUT", f"/scale/{deployment}", body={"replicas": replicas})

    def delete(self, kind: str, name: str, deadline_s: float | None = 60) -> None:
        self._call("DELETE", f"/objects/{kind}/{name}")
        if kind in WAITED and deadline_s is not None:
            self._wait_gone(lambda pod: WAITED[kind].owns(pod, name), {}, f"{kind} {name}", deadline_s)

    # -- waits

    def wait_ready(
        self,
        name: str,
        deadline_s: float,
        on_progress: Callable[[str], None] = lambda _: None,
        kind: Waited = "Deployment",
    ) -> dict[str, Any]:
        end, said, version = time.monotonic() + deadline_s, "", 0
        while True:
            pods, version = self._listed("Pod", None)
            found = self.get(kind, name)
            if found is None:
                raise errors.NotReady(f"There is no {kind} {name} to wait for.", "Apply it first.")
            own = [p for p in pods if WAITED[kind].owns(p, name)]
            progress = WAITED[kind].readiness(found, Evidence(own))
            if progress.summary != said:
                said = progress.summary
                on_progress(said)
            if progress.done:
                return found
            left = end - time.monotonic()
            why = progress.hopeless or (f"not within {deadline_s:g} s" if left <= 0 else "")
            if why:
                raise not_ready(kind, name, why, progress, self.events(kind, name), self._logs_of(own))
            self._changed_after(version, min(left, WATCH_S))

    def wait_gone(self, labels: Mapping[str, str], deadline_s: float) -> None:
        self._wait_gone(lambda _: True, labels, f"pods with {dict(labels)}", deadline_s)

    # -- the rest

    def _wait_gone(
        self, mine: Callable[[dict[str, Any]], bool], labels: Mapping[str, str], what: str, deadline_s: float
    ) -> None:
        end = time.monotonic() + deadline_s
        while True:
            pods, version = self._listed("Pod", labels)
            names = [pod["metadata"]["name"] for pod in pods if mine(pod)]
            if not names:
                return
            left = end - time.monotonic()
            if left <= 0:
                raise errors.NotReady(
                    f"Of {what} these pods are still there after {deadline_s:g} s: {', '.join(names)}.",
                    "Wait for their terminationGracePeriodSeconds, or see their logs.",
                )
            self._changed_after(version, min(left, WATCH_S))

    def _logs_of(self, pods: Sequence[Mapping[str, Any]]) -> str:
        waiting = [p["metadata"]["labels"] for p in pods if not is_ready(p)]
        return self.logs(waiting[-1], 50) if waiting else ""

    def _apply(self, objects: Sequence[Manifest], dry_run: bool, take_back: bool) -> builtins.list[dict[str, Any]]:
        asked = {"manager": self._manager, "dryRun": dry_run, "takeBack": take_back}
        return self._call("PATCH", "/objects", body=as_json(asked | {"objects": builtins.list(objects)}))

    def _listed(self, kind: str, labels: Mapping[str, str] | None) -> tuple[builtins.list[dict[str, Any]], int]:
        found = self._call("GET", f"/objects/{kind}", {"labels": json.dumps(dict(labels or {}))})
        return found["items"], found["version"]

    def _changed_after(self, version: int, timeout_s: float) -> None:
        self._call("GET", "/changes", {"after": version, "timeout": timeout_s})

    def _call(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        import httpx

        query = {"namespace": self.namespace, **(params or {})}
        try:
            answer = self._http.request(method, path, params=query, json=body)
        except httpx.HTTPError as error:
            raise errors.ClusterUnavailable(
                f"The local cluster at {self.url} does not answer ({error}).", "Run `genai up`."
            ) from error
        if answer.headers.get("content-type", "").startswith("application/json"):
            content = answer.json()
        else:
            content = answer.text
        if answer.is_success:
            return content
        raise _error(answer.status_code, content, self.url)


def _error(status: int, content: Any, url: str) -> errors.GenaiError:
    if isinstance(content, dict) and content.get("error"):
        kinds = {"NotFound": errors.NotFound, "ClusterUnavailable": errors.ClusterUnavailable}
        return kinds.get(content["error"], errors.Refused)(content["what"], content["remedy"])
    return errors.ClusterUnavailable(f"The local cluster at {url} answered {status}: {content}.", "See its log.")


def _counted(event: Mapping[str, Any]) -> str:
    return event["message"] + (f" (x{event['count']})" if event["count"] > 1 else "")
