"""Turns the API's events into ClusterEvents. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genai_pipeline.gateways.cluster.abc import ClusterEvent


def cluster_events(events: Iterable[Mapping[str, Any]]) -> list[ClusterEvent]:
    """Return the events, newest last. A repeated event is in it once, with its count."""
    return sorted((_event(e) for e in events), key=lambda e: moment(e.at))


def moment(timestamp: str) -> str:
    """Return a timestamp that sorts. The API writes some with fractions of a second and some without."""
    return timestamp.removesuffix("Z")


def _event(event: Mapping[str, Any]) -> ClusterEvent:
    about = event.get("involvedObject") or {}
    series = event.get("series") or {}
    at = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    count = series.get("count") or event.get("count") or 1
    message = (event.get("message") or "").strip()
    return ClusterEvent(
        at=at or event["metadata"].get("creationTimestamp") or "",
        kind=about.get("kind") or "",
        name=about.get("name") or "",
        type="Warning" if event.get("type") == "Warning" else "Normal",
        reason=event.get("reason") or "",
        message=f"{message} (x{count})" if count > 1 else message,
    )
