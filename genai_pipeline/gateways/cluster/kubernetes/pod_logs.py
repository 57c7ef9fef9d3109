"""Reads the last lines of the pods' containers, and of containers that crashed before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.gateways.cluster.kinds import KINDS, ApiRequest
from genai_pipeline.gateways.cluster.kubernetes.connection import Connection, Deadline

LOG_BYTES = 512 * 1024
PATIENCE_S = 5.0
"""For one log: a node that does not answer must not delay the logs of other nodes."""


class PodLogs:
    """Reads the logs of pods in one namespace."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        self._connection, self._namespace = connection, namespace

    def of_pods(self, pods: Sequence[Mapping[str, Any]], lines: int, deadline: Deadline | None = None) -> str:
        """Return the logs under headings, crashed containers first; for an unreadable log the reason."""
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
        path = KINDS["Pod"].path(self._namespace, pod) + "/log"
        request = ApiRequest("get", "pods/log", path, self._namespace, pod)
        query: list[tuple[str, Any]] = [("container", container), ("tailLines", lines), ("limitBytes", LOG_BYTES)]
        if previous:
            query.append(("previous", "true"))
        left = min(PATIENCE_S, deadline.left_s) if deadline else PATIENCE_S
        try:
            answer = self._connection.call(request, query, deadline=Deadline(left), accept=(400, 404))
        except GenaiError as error:
            return f"(the log cannot be read: {error})"
        if answer.status >= 400:
            return ""  # not started yet, or gone
        return answer.content if isinstance(answer.content, str) else str(answer.content)


def labels_selector(labels: Mapping[str, str]) -> str:
    """Return the label selector for objects with all of these labels."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def selector_query(selector: Mapping[str, Any]) -> str:
    """Return a label selector as a query has it."""
    labels = selector.get("matchLabels") or {}
    parts = [labels_selector(labels)] if labels else []
    for rule in selector.get("matchExpressions") or []:
        values, key = ",".join(rule.get("values") or []), rule["key"]
        forms = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(forms.get(rule["operator"], f"!{key}"))
    return ",".join(parts)


def _containers(pod: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return each container's name, and whether it has run before."""
    status = pod.get("status") or {}
    found = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return [(c["name"], c.get("restartCount", 0) > 0) for c in found]
