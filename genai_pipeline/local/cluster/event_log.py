"""What happened to which object, as `kubectl get events` would show it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genai_pipeline.local.cluster.objects import timestamp
from genai_pipeline.local.state_files import write_private

KEPT = 500


class EventLog:
    """The newest 500; the same event again is counted instead of kept twice."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._events: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []

    def record(self, obj: Mapping[str, Any], kind: str, reason: str, message: str) -> None:
        """Note an event of type `kind` (Normal or Warning) about `obj`."""
        meta = obj["metadata"]
        event = {
            "namespace": meta.get("namespace", ""),
            "kind": obj["kind"],
            "name": meta["name"],
            "owners": [f"{o['kind']}/{o['name']}" for o in meta.get("ownerReferences") or []],
            "type": kind,
            "reason": reason,
            "message": message,
        }
        same = next((e for e in self._events if {k: e[k] for k in event} == event), None)
        count = 1
        if same is not None:
            self._events.remove(same)
            count += same["count"]
        self._events.append(event | {"at": timestamp(time.time()), "count": count})
        self._events = self._events[-KEPT:]
        write_private(self._file, json.dumps(self._events))

    def about(self, namespace: str, kind: str, name: str) -> list[dict[str, Any]]:
        """Return the events of the object and of what it owns, newest last."""
        owner = f"{kind}/{name}"
        return [
            event
            for event in self._events
            if event["namespace"] == namespace
            and ((event["kind"], event["name"]) == (kind, name) or owner in event["owners"])
        ]
