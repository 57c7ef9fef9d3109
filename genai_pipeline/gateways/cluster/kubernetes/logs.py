"""The last lines of the pods' containers, of crashed predecessors too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.gateways.cluster.kubernetes.answers import Request
from genai_pipeline.gateways.cluster.kubernetes.connection import Connection
from genai_pipeline.gateways.cluster.kubernetes.kinds import KINDS
from genai_pipeline.gateways.cluster.kubernetes.retrying import Deadline

LOG_BYTES = 512 * 1024
PATIENCE_S = 5.0
"""For one log: a node that does not answer must not hold up those of the others."""


class Logs:
    """Reads logs of one namespace."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection, self._namespace = connection, namespace

    def of_pods(self, pods: Sequence[Mapping[str, Any]], lines: int, deadline: Deadline | None = None) -> str:
        """Predecessors first, each under a heading; a log that cannot be had is a line that says why."""
        parts: list[str] = []
        for pod in pods:
            name = pod["metadata"]["name"]
            for container, restarted in _containers(pod):
                for previous in [True, False] if restarted else [False]:
                    text = self._text(name, container, lines, previous, deadline)
                    if text:
                        note = " (before its restart)" if previous else ""
                        parts += [f"==> {name}/{container}{note} <==", *text.splitlines()]
        return "\n".join(parts)

    def _text(self, pod: str, container: str, lines: int, previous: bool, deadline: Deadline | None) -> str:
        request = Request("get", "pods/log", self._namespace, pod)
        query: list[tuple[str, Any]] = [("container", container), ("tailLines", lines), ("limitBytes", LOG_BYTES)]
        query += [("previous", "true")] * previous
        path = KINDS["Pod"].path(self._namespace, pod) + "/log"
        left = min(PATIENCE_S, deadline.left_s) if deadline else PATIENCE_S
        try:
            answer = self._connection.call(request, "GET", path, query, deadline=Deadline(left), accept=(400, 404))
        except GenaiError as error:
            return f"(the log cannot be read: {error})"
        if answer.status >= 400:
            return ""  # not started yet, or gone
        return answer.content if isinstance(answer.content, str) else str(answer.content)


def selector_of(workload: Mapping[str, Any]) -> str:
    """The label selector of a Deployment, as the API wants it in a query."""
    selector = workload["spec"]["selector"]
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or []:
        values, key = ",".join(rule.get("values") or []), rule["key"]
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(forms.get(rule["operator"], f"!{key}"))
    return ",".join(parts)


def _containers(pod: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Name, and whether it has run before."""
    status = pod.get("status") or {}
    found = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return [(c["name"], c.get("restartCount", 0) > 0) for c in found]
