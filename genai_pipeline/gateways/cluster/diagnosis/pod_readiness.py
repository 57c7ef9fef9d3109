"""Tells whether a pod that runs to its end has started, why it never will, and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.likeliest_cause import causes_of_pod, likeliest
from genai_pipeline.gateways.cluster.diagnosis.readiness import Readiness, waits_of
from genai_pipeline.gateways.cluster.pods import container_states, has_ended, last_end


def readiness_of_pod(pod: Mapping[str, Any], seen: Evidence) -> Readiness:
    """Return whether the pod's containers have started. Those that have ended did so, too."""
    states = container_states(pod)
    if has_ended(pod) or (states and all("waiting" not in container["state"] for container in states)):
        return Readiness(True, "started")
    summary = "; ".join(waits_of(pod))
    return Readiness.not_yet(summary, likeliest(causes_of_pod(pod, seen)), "")


def how_it_ended(pod: Mapping[str, Any]) -> str:
    """Return how the pod ended, in words, or an empty text where all went well or it has not ended."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        return ": ".join(filter(None, [status["reason"], status.get("message")]))
    ends = [(c["name"], last_end(c)) for c in container_states(pod) if last_end(c)]
    bad = [(name, end) for name, end in ends if end.get("exitCode")]
    return "; ".join(
        f"container {name}: {end.get('reason') or 'ended'}, exit code {end['exitCode']}" for name, end in bad
    )
