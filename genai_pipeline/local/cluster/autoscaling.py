"""How many replicas a load asks for, and when the number changes. Pure: figures and times in, decisions out.

The arithmetic is that of Kubernetes' HorizontalPodAutoscaler: the load by the target, rounded up, and a window of past
recommendations for each direction. Source: Kubernetes documentation, "Horizontal Pod Autoscaling: Algorithm details"
and "Stabilization window".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.local.cluster.objects import Object

TOLERANCE = 0.1
"""A load so close to the target asks for no change. Kubernetes' own default."""


@dataclass(frozen=True)
class Scaling:
    """What a ScaledObject says.

    Args:
        target: requests per replica that are aimed for.
        up_after_s: seconds of more load before replicas are added.
        down_after_s: seconds of less load before replicas are removed.
    """

    fewest: int
    most: int
    target: float
    up_after_s: float
    down_after_s: float


@dataclass(frozen=True)
class Recommendation:
    """How many replicas a load asked for. `at` is in seconds of the clock that all of them share."""

    at: float
    replicas: int


@dataclass(frozen=True)
class Decision:
    """How many replicas to run now, and what the next decision has to know."""

    replicas: int
    history: Sequence[Recommendation]


def scaling_of(scaled_object: Object) -> Scaling:
    """Return what a ScaledObject says. Raises: KeyError, ValueError: it is not one that this cluster can follow."""
    spec = scaled_object["spec"]
    (trigger,) = spec["triggers"]
    if trigger["type"] != "prometheus" or trigger.get("metricType", "AverageValue") != "AverageValue":
        raise ValueError("its trigger is not a Prometheus with an AverageValue")
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    return Scaling(
        fewest=max(1, spec.get("minReplicaCount", 0)),
        most=spec.get("maxReplicaCount", 100),
        target=float(trigger["metadata"]["threshold"]),
        up_after_s=_window_s(behavior, "scaleUp", 0),
        down_after_s=_window_s(behavior, "scaleDown", 300),
    )


def decide(scaling: Scaling, history: Sequence[Recommendation], load: float | None, now: int, at: float) -> Decision:
    """Return how many replicas to run.

    More are started once all recommendations of `up_after_s` ask for more, and some are ended once all of
    `down_after_s` ask for fewer. A load that is not known asks for what runs, so that it holds both.

    Args:
        history: what the decision before returned, or an empty sequence for the first one.
        load: requests of all replicas together, running or waiting; None: it could not be read.
        now: replicas that run or start.
        at: seconds of a clock that never goes back.
    """
    asked = now if load is None else _asked_for(scaling, load, now)
    seen = (*(history or (Recommendation(at, now),)), Recommendation(at, asked))
    fewest_up = min(r.replicas for r in _since(seen, at - scaling.up_after_s))
    most_down = max(r.replicas for r in _since(seen, at - scaling.down_after_s))
    replicas = min(max(now, fewest_up), most_down)
    longest_s = max(scaling.up_after_s, scaling.down_after_s)
    return Decision(min(max(replicas, scaling.fewest), scaling.most), tuple(_since(seen, at - longest_s)))


def _asked_for(scaling: Scaling, load: float, now: int) -> int:
    if now and abs(load / (scaling.target * now) - 1) <= TOLERANCE:
        return now
    return min(max(math.ceil(load / scaling.target), scaling.fewest), scaling.most)


def _since(seen: Sequence[Recommendation], begin: float) -> list[Recommendation]:
    """Return the recommendations of a window. The newest one always counts."""
    return [r for r in seen[:-1] if r.at > begin] + [seen[-1]]


def _window_s(behavior: Any, direction: str, default: float) -> float:
    return float(behavior.get(direction, {}).get("stabilizationWindowSeconds", default))
