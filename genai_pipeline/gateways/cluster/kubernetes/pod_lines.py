"""Follows the log of one pod to its end. A stream that breaks or falls silent is opened again; no line comes twice."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

from genai_pipeline.core.errors import ClusterUnavailable, NotFound, NotReady
from genai_pipeline.gateways.cluster.kinds import KINDS, ApiRequest
from genai_pipeline.gateways.cluster.kubernetes.connection import Connection, Deadline, pause_s
from genai_pipeline.gateways.cluster.pods import container_states, has_ended

SILENCE_S = 20.0
"""Only the next reading tells a silent pod from a dead connection."""
FIRST_PAUSE_S = 0.25


def lines_of(connection: Connection, namespace: str, pod: str, deadline: Deadline) -> Iterator[str]:
    """Yield each line of a log once, until the pod's container has ended.

    Each stream begins with the first line, because the API has no position in a log. Kubelets keep the last 10 MiB.

    Raises: NotReady: the pod is gone, or has not ended in time. ClusterUnavailable: the API does not answer. Refused.
    Source: Kubernetes API reference, "Read log of the specified Pod".
    """
    seen, failures = 0, 0
    while True:
        # In this order: a log that is opened after the end is whole.
        ended, whole, before = _has_ended(connection, namespace, pod, deadline), True, seen
        try:
            for line in itertools.islice(_stream(connection, namespace, pod, deadline), seen, None):
                seen += 1
                yield line
        except (OSError, ClusterUnavailable, NotFound):
            whole = False
        if ended and whole:
            return
        if deadline.over:
            what = f"Pod {pod} has not ended within {deadline.seconds:g} s."
            raise NotReady(what, f"`kubectl logs {pod} -n {namespace}` shows what it does.")
        failures = 0 if seen > before else failures + 1
        time.sleep(min(pause_s(failures, None, FIRST_PAUSE_S), deadline.left_s))


def _has_ended(connection: Connection, namespace: str, pod: str, deadline: Deadline) -> bool:
    query = [("fieldSelector", f"metadata.name={pod}")]
    found = connection.call(KINDS["Pod"].request("list", namespace), query, deadline=deadline).content["items"]
    if not found:
        raise NotReady(f"Pod {pod} is gone before its end.", "It was deleted or evicted, or its node is gone.")
    states = container_states(found[0])
    return has_ended(found[0]) or bool(states and all("terminated" in c["state"] for c in states))


def _stream(connection: Connection, namespace: str, pod: str, deadline: Deadline) -> Iterator[str]:
    """Yield the whole lines of one stream. Raises OSError where it breaks."""
    import urllib3

    request = ApiRequest("get", "pods/log", KINDS["Pod"].path(namespace, pod) + "/log", namespace, pod)
    response: Any = connection.stream(request, [("follow", "true")], min(SILENCE_S, deadline.left_s + 1))
    try:
        for line in response:
            if line.endswith(b"\n"):
                yield line[:-1].decode("utf-8", "replace")
    except urllib3.exceptions.HTTPError as error:
        raise ConnectionError(f"the log of {pod} broke off ({error})") from error
    finally:
        response.close()
