"""Server-side apply: all objects are tried dry first, so that one refused object keeps the whole from happening.

A dry run answers with the live object's resourceVersion, so it also tells whether the apply that follows changes
anything: two calls an object, one where nothing changes. Source: Kubernetes documentation, "Server-Side Apply".
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.gateways.cluster.abc import OURS_BY_DESIGN, Applied, Difference, Manifest, as_json
from genai_pipeline.gateways.cluster.differences import differences
from genai_pipeline.gateways.cluster.kubernetes.answers import Answer, Request, error_of
from genai_pipeline.gateways.cluster.kubernetes.connection import APPLY_PATCH, Connection
from genai_pipeline.gateways.cluster.kubernetes.kinds import Kind, kind_of
from genai_pipeline.gateways.cluster.kubernetes.retrying import Deadline

CLOCK_GRAIN_S = 2.0
"""managedFields and the Date header count whole seconds."""
COMPARISONS_MAX = 5
"""A controller may write between a dry run and the look at the live object; then both are taken again."""


@dataclass(frozen=True)
class Preview:
    """What a dry run said. `answer` is None where it cannot be asked: the namespace comes with the same apply."""

    kind: Kind
    manifest: dict[str, Any]
    answer: Answer | None = None
    force: bool = False
    changes: bool = True


class Applier:
    """Args: manager: the field manager in whose name everything is written."""

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
        return found  # somebody writes all the time: better too many than none

    def _applied(self, preview: Preview) -> Applied:
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

    def _preview(self, manifest: dict[str, Any], coming: set[Any], take_back: bool) -> Preview:
        kind = kind_of(manifest)
        begun = time.monotonic()
        try:
            answer, force = self._patched(kind, manifest, dry_run=True, take_back=take_back)
        except NotFound:
            if self._place(kind, manifest) not in coming:
                raise
            return Preview(kind, manifest)
        except Refused as error:
            if "dry run" not in str(error):
                raise
            return Preview(kind, manifest)  # an admission webhook that cannot be asked without doing
        changes = force or answer.status == 201 or _changed_just_now(answer, self._manager, time.monotonic() - begun)
        return Preview(kind, manifest, answer, force, changes)

    def _patched(
        self, kind: Kind, manifest: dict[str, Any], dry_run: bool, force: bool = False, take_back: bool = False
    ) -> tuple[Answer, bool]:
        """The answer, and whether fields were taken back: those that are ours by design, or with `take_back` all."""
        space, name = self._place(kind, manifest), manifest["metadata"]["name"]
        request = Request("patch", kind.resource, space, name)
        query = [("fieldManager", self._manager)] + [("dryRun", "All")] * dry_run + [("force", "true")] * force
        body = manifest
        if space:
            body = manifest | {"metadata": manifest["metadata"] | {"namespace": space}}
        answer = self._connection.call(
            request, "PATCH", kind.path(space, name), query, body, APPLY_PATCH, accept=(409,)
        )
        if answer.status != 409:
            return answer, force
        if not force and answer.causes and (take_back or all(_ours(manifest["kind"], c) for c in answer.causes)):
            return self._patched(kind, manifest, dry_run, force=True)
        raise _conflict(manifest, answer) if answer.causes else error_of(answer, request)

    def scale(self, deployment: str, replicas: int, deadline: Deadline | None = None) -> None:
        """Raises NotFound. A merge patch: an apply of the replicas alone would give up every other field."""
        kind = kind_of({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": deployment}})
        self._connection.call(
            Request("patch", kind.resource, self._namespace, deployment),
            "PATCH",
            kind.path(self._namespace, deployment),
            [("fieldManager", self._manager)],
            {"spec": {"replicas": replicas}},
            "application/merge-patch+json",
            deadline,
        )

    def _live(self, kind: Kind, manifest: Mapping[str, Any]) -> Any:
        space, name = self._place(kind, manifest), manifest["metadata"]["name"]
        request = Request("get", kind.resource, space, name)
        answer = self._connection.call(request, "GET", kind.path(space, name), accept=(404,))
        return answer.content if answer.status < 300 else None

    def _place(self, kind: Kind, manifest: Mapping[str, Any]) -> str:
        return (manifest["metadata"].get("namespace") or self._namespace) if kind.namespaced else ""


def _version(answer: Answer) -> str:
    return answer.content["metadata"].get("resourceVersion", "")


def _changed_just_now(answer: Answer, manager: str, took_s: float) -> bool:
    """Whether this dry run changed our fields; True where it cannot be told.

    The server stamps our entry only when the apply changes something, so an old stamp is proof of no change.
    """
    entries = answer.content["metadata"].get("managedFields") or []
    stamps = [e["time"] for e in entries if e["manager"] == manager and e["operation"] == "Apply" and "time" in e]
    date = answer.headers.get("Date")
    if len(stamps) != 1 or not date:
        return True
    from datetime import datetime

    age_s = (parsedate_to_datetime(date) - datetime.fromisoformat(stamps[0])).total_seconds()
    return age_s <= took_s + CLOCK_GRAIN_S


def _ours(kind: str, cause: Mapping[str, Any]) -> bool:
    field = str(cause.get("field", "")).lstrip(".")
    return any(field == f or field.startswith(f"{f}.") for k, f in OURS_BY_DESIGN if k == kind)


def _conflict(manifest: Mapping[str, Any], answer: Answer) -> Refused:
    held = [(str(c.get("field", "")).lstrip("."), _owner(str(c.get("message", "")))) for c in answer.causes]
    told = "; ".join(f"{field} is owned by {owner!r}" for field, owner in held)
    fields, owners = ", ".join(f for f, _ in held), " and ".join(sorted({repr(o) for _, o in held}))
    return Refused(
        f"{manifest['kind']} {manifest['metadata']['name']}: {told}.",
        f"Leave {fields} out or set the value that is there, or let {owners} release it.",
    )


def _owner(message: str) -> str:
    match = re.search(r'conflict with "([^"]+)"', message)
    return match[1] if match else message
