"""Applies objects server-side. All are tried in a dry run first, so that one refused object stops the whole apply.

A dry run answers with the live object's resourceVersion. So it also shows whether the apply changes anything: an object
costs two calls, or one where nothing changes. Source: Kubernetes documentation, "Server-Side Apply".
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from genai_pipeline.core.errors import FieldConflict, NotFound, Refused
from genai_pipeline.gateways.cluster.abc import OURS_BY_DESIGN, Applied, Difference, Manifest, as_json
from genai_pipeline.gateways.cluster.differences import differences
from genai_pipeline.gateways.cluster.kinds import KINDS, ApiRequest, Kind, Verb, kind_of
from genai_pipeline.gateways.cluster.kubernetes.answers import ApiAnswer, error_of
from genai_pipeline.gateways.cluster.kubernetes.connection import Connection

CLOCK_GRAIN_S = 2.0
"""managedFields and the Date header count whole seconds."""
COMPARISONS_MAX = 5
"""A controller may write between a dry run and the read of the live object. Then both are repeated."""


@dataclass(frozen=True)
class DryRun:
    """The answer to a dry run. `answer` is None where none is possible: the namespace comes with the same apply."""

    kind: Kind
    manifest: dict[str, Any]
    answer: ApiAnswer | None = None
    force: bool = False
    changes: bool = True


class Applier:
    """Applies objects. `manager`: the field manager in whose name everything is written."""

    def __init__(self, connection: Connection, namespace: str, manager: str) -> None:
        self._connection, self._namespace, self._manager = connection, namespace, manager

    def apply(self, objects: Sequence[Manifest], take_back: bool = False) -> list[Applied]:
        """Raises Refused before anything is changed, NotFound where the namespace is missing."""
        manifests = [as_json(o) for o in objects]
        coming = {(m.get("metadata") or {}).get("name") for m in manifests if m.get("kind") == "Namespace"}
        previews = [self._preview(m, coming, take_back) for m in manifests]
        return [self._applied(p) for p in previews]

    def diff(self, objects: Sequence[Manifest], take_back: bool = False) -> list[Difference]:
        return [d for manifest in [as_json(o) for o in objects] for d in self._differences(manifest, take_back)]

    def _differences(self, manifest: dict[str, Any], take_back: bool) -> list[Difference]:
        found: list[Difference] = []
        for _ in range(COMPARISONS_MAX):
            preview = self._preview(manifest, set(), take_back)
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            live = self._live(preview.kind, manifest) if preview.changes else None
            if preview.answer is None or (preview.changes and live is None):
                return [Difference(kind, name, "metadata.name", name, None)]
            if live is None:
                return []
            found = [Difference(kind, name, *d) for d in differences(live, preview.answer.content)]
            if live["metadata"]["resourceVersion"] == _version(preview.answer):
                return found
        return found  # another writer changes it all the time: too many differences are better than none

    def _applied(self, preview: DryRun) -> Applied:
        manifest = preview.manifest
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        before = preview.answer
        if before is not None and not preview.changes:
            return Applied(kind, name, "unchanged", warnings=before.warnings)
        answer, _ = self._patched(preview.kind, manifest, dry_run=False, force=preview.force)
        if answer.status == 201:
            return Applied(kind, name, "created", warnings=answer.warnings)
        same = before is not None and _version(before) == _version(answer)
        return Applied(kind, name, "unchanged" if same else "configured", warnings=answer.warnings)

    def _preview(self, manifest: dict[str, Any], coming: set[Any], take_back: bool) -> DryRun:
        kind = kind_of(manifest)
        begun = time.monotonic()
        try:
            answer, force = self._patched(kind, manifest, dry_run=True, take_back=take_back)
        except NotFound:
            if self._request("patch", kind, manifest).namespace not in coming:
                raise
            return DryRun(kind, manifest)
        except Refused as error:
            if "dry run" not in str(error):
                raise
            return DryRun(kind, manifest)  # an admission webhook that does not support dry runs
        changes = force or answer.status == 201 or _changed_just_now(answer, self._manager, time.monotonic() - begun)
        return DryRun(kind, manifest, answer, force, changes)

    def _patched(
        self, kind: Kind, manifest: dict[str, Any], dry_run: bool, force: bool = False, take_back: bool = False
    ) -> tuple[ApiAnswer, bool]:
        """Return the answer, and whether fields were taken from another manager.

        Fields of OURS_BY_DESIGN are taken, and with `take_back` all of them.
        """
        request = self._request("patch", kind, manifest)
        query = [("fieldManager", self._manager)]
        if dry_run:
            query.append(("dryRun", "All"))
        if force:
            query.append(("force", "true"))
        body = manifest
        if request.namespace:
            body = manifest | {"metadata": manifest["metadata"] | {"namespace": request.namespace}}
        answer = self._connection.call(request, query, body, "application/apply-patch+yaml", accept=(409,))
        if answer.status != 409:
            return answer, force
        if not force and answer.causes and (take_back or all(_is_ours(manifest["kind"], c) for c in answer.causes)):
            return self._patched(kind, manifest, dry_run, force=True)
        raise _conflict(manifest, answer) if answer.causes else error_of(answer, request)

    def scale(self, deployment: str, replicas: int) -> None:
        """Set the replicas. A merge patch: an apply of the replicas alone would give up every other field."""
        self._connection.call(
            KINDS["Deployment"].request("patch", self._namespace, deployment),
            [("fieldManager", self._manager)],
            {"spec": {"replicas": replicas}},
            "application/merge-patch+json",
        )

    def _live(self, kind: Kind, manifest: Mapping[str, Any]) -> Any:
        answer = self._connection.call(self._request("get", kind, manifest), accept=(404,))
        return answer.content if answer.status < 300 else None

    def _request(self, verb: Verb, kind: Kind, manifest: Mapping[str, Any]) -> ApiRequest:
        meta = manifest["metadata"]
        return kind.request(verb, meta.get("namespace") or self._namespace, meta["name"])


def _version(answer: ApiAnswer) -> str:
    return answer.content["metadata"].get("resourceVersion", "")


def _changed_just_now(answer: ApiAnswer, manager: str, took_s: float) -> bool:
    """Return whether this dry run changed our fields; True where that is not known.

    The server writes our time stamp only when the apply changes something. So an old stamp proves that nothing changed.
    """
    entries = answer.content["metadata"].get("managedFields") or []
    stamps = [e["time"] for e in entries if e["manager"] == manager and e["operation"] == "Apply" and "time" in e]
    date = answer.headers.get("Date")
    if len(stamps) != 1 or not date:
        return True
    age_s = (parsedate_to_datetime(date) - datetime.fromisoformat(stamps[0])).total_seconds()
    return age_s <= took_s + CLOCK_GRAIN_S


def _is_ours(kind: str, cause: Mapping[str, Any]) -> bool:
    field = str(cause.get("field", "")).lstrip(".")
    return any(field == f or field.startswith(f"{f}.") for k, f in OURS_BY_DESIGN if k == kind)


def _conflict(manifest: Mapping[str, Any], answer: ApiAnswer) -> FieldConflict:
    held = [(str(c.get("field", "")).lstrip("."), _owner(str(c.get("message", "")))) for c in answer.causes]
    conflicts = "; ".join(f"{field} is owned by {owner!r}" for field, owner in held)
    owners = " and ".join(sorted({repr(o) for _, o in held}))
    return FieldConflict(
        f"{manifest['kind']} {manifest['metadata']['name']}: {conflicts}.",
        f"Take it back: apply what `genai render` writes with `kubectl apply --server-side --force-conflicts "
        f"--field-manager=genai-pipeline`. Or let {owners} release it.",
    )


def _owner(message: str) -> str:
    match = re.search(r'conflict with "([^"]+)"', message)
    return match[1] if match else message
