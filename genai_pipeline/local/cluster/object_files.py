"""The objects of the cluster: one JSON file each, readable by their owner only, written whole or not at all.

<home>/cluster/objects/<namespace, or _ for none>/<kind>/<name>.json
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from genai_pipeline.local.cluster.objects import Object, labels_match
from genai_pipeline.local.state_files import write_private

Key = tuple[str, str, str]
"""Kind, namespace, name."""


class ObjectFiles:
    """All in memory; every change is in its file before the call returns. Used from one event loop only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._objects: dict[Key, Object] = {}
        self._changed = asyncio.Event()
        for path in sorted(folder.glob("*/*/*.json")):
            obj = json.loads(path.read_text())
            self._objects[key_of(obj)] = obj
        versions = (int(o["metadata"].get("resourceVersion", 0)) for o in self._objects.values())
        self.version = max(versions, default=0)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._objects.get((kind, namespace, name))

    def list(self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Object]:
        found = (o for (k, ns, _), o in self._objects.items() if k == kind and namespace in (None, ns))
        matching = (o for o in found if labels_match(labels or {}, o["metadata"].get("labels")))
        return sorted(matching, key=lambda o: o["metadata"]["name"])

    def in_namespace(self, namespace: str) -> list[Object]:
        return [o for (_, ns, _), o in self._objects.items() if ns == namespace]

    def put(self, obj: Object) -> Object:
        """Create or replace."""
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        path = self._path(key_of(obj))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, json.dumps(obj, indent=1))
        self._objects[key_of(obj)] = obj
        self._notify()
        return obj

    def update(self, key: Key, change: Callable[[Object], Object]) -> Object | None:
        """Replace by `change(object)`; nothing is written where that changes nothing or the object is gone."""
        before = self._objects.get(key)
        if before is None:
            return None
        after = change(before)
        return before if after == before else self.put(after)

    def remove(self, key: Key) -> None:
        if self._objects.pop(key, None) is not None:
            self.version += 1
            self._path(key).unlink(missing_ok=True)
            self._notify()

    async def changed_after(self, version: int, timeout_s: float) -> int:
        """The store's version as soon as it is above `version`, or at the timeout."""
        if self.version <= version:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_s)
        return self.version

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _path(self, key: Key) -> Path:
        kind, namespace, name = key
        return self._folder / (namespace or "_") / kind / f"{name}.json"


def key_of(obj: Mapping[str, Any]) -> Key:
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace", ""), meta["name"]
