"""How many replicas serve: `serving.replicas` of a model file, and what its names are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import PositiveInt, model_validator

from genai_pipeline.core.spec_section import Section

_NO_NUMBER = "Set `min` and `max`; with equal numbers nothing scales."
_NO_HEALTH = "The pipeline sets Serve's health check, and KubeRay ignores thresholds of the RayService. Remove it."
_NO_WINDOW = "Serve's own window is used. Remove it; `upscale_delay_s` and `downscale_delay_s` say how long it waits."

REPLICA_NAMES: Mapping[str, str] = {
    "target_num_ongoing_requests_per_replica": "Ray calls it `target_ongoing_requests` today.",
    "max_concurrent_queries": "Ray calls it `max_ongoing_requests` today.",
    "min_replicas": "Write `min`.",
    "max_replicas": "Write `max`.",
    "num_replicas": _NO_NUMBER,
    "initial_replicas": _NO_NUMBER,
    **dict.fromkeys(("look_back_period_s", "metrics_interval_s", "smoothing_factor"), _NO_WINDOW),
    **dict.fromkeys(
        (
            "health_check_period_s",
            "health_check_timeout_s",
            "serviceUnhealthySecondThreshold",
            "deploymentUnhealthySecondThreshold",
        ),
        _NO_HEALTH,
    ),
}
"""Name -> what to write."""


class Replicas(Section):
    """How many replicas serve, and when an autoscaler adds or removes one (names as in Ray Serve)."""

    FORMER = REPLICA_NAMES

    min: PositiveInt = 1
    """Fewest replicas."""
    max: PositiveInt = 1
    """Most replicas. Above `min` they follow the load: by Ray itself, or by KEDA with `engine: vllm`."""
    target_ongoing_requests: PositiveInt = 20
    """Requests per replica, running or waiting, that the autoscaler aims for."""
    upscale_delay_s: PositiveInt = 30
    """Seconds of more load before replicas are added."""
    downscale_delay_s: PositiveInt = 600
    """Seconds of less load before replicas are removed."""
    max_ongoing_requests: PositiveInt = 100
    """Most requests that one replica gets at once. More wait in front of it. Only `engine: ray` uses it."""

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        return self
