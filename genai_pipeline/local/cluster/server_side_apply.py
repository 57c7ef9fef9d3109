"""Server-side apply: what an object becomes when a field manager applies a manifest. Pure.

As in Kubernetes, a field that its manager stops sending disappears. A field that another manager sent with another
value is a conflict. Lists are replaced whole: with one manager per object that is the same as Kubernetes' merging by
key. Each of these behaviours is a case of tests/conformance, which real clusters pass too.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline.core.errors import Refused
from genai_pipeline.gateways.cluster.abc import OURS_BY_DESIGN
from genai_pipeline.local.cluster.objects import Object


def applied(live: Object | None, manifest: Mapping[str, Any], manager: str, take_back: bool = False) -> Object:
    """The object after the apply, without resourceVersion, generation and uid of a new one.

    With `take_back` every field of the manifest is taken from its owner.

    Raises: Refused: another manager owns a field with another value, or an immutable field changes.
    """
    wanted = normalised(manifest)
    managed = _managed(live)
    given_up = _without if take_back else _without_ours
    managed = {m: fields if m == manager else given_up(fields, wanted) for m, fields in managed.items()}
    _refuse_conflict(wanted, {m: fields for m, fields in managed.items() if m != manager})
    base = {k: v for k, v in (live or {}).items() if k != "status"}
    before = managed.get(manager, {})
    for other in (fields for m, fields in managed.items() if m != manager):
        before = _without(before, other)
    merged = _defaulted(_merge(base, before, wanted))
    _refuse_immutable(live, merged)
    managed[manager] = wanted
    entries = [{"manager": m, "operation": "Apply", "fields": fields} for m, fields in sorted(managed.items())]
    merged["metadata"] = merged["metadata"] | {"managedFields": entries}
    return merged | ({"status": live["status"]} if live and "status" in live else {})


def presentable(obj: Mapping[str, Any]) -> Object:
    """The object without our book-keeping."""
    return dict(obj) | {"metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}


def normalised(manifest: Mapping[str, Any]) -> Object:
    """Without nulls, without status, a Secret's stringData moved to data."""
    wanted = _without_nulls({k: v for k, v in manifest.items() if k not in ("status", "stringData")})
    if manifest.get("kind") == "Secret":
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in (manifest.get("stringData") or {}).items()}
        wanted["data"] = (wanted.get("data") or {}) | encoded
    return wanted


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_nulls(v) for v in value]
    return value


def _merge(live: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> Object:
    merged = dict(live)
    for key, old in before.items():
        if key in after:
            continue
        rest = _merge(live[key], old, {}) if isinstance(old, Mapping) and isinstance(live.get(key), Mapping) else None
        merged.pop(key, None)
        if rest:
            merged[key] = rest
    for key, new in after.items():
        now, old = live.get(key), before.get(key)
        if isinstance(new, Mapping) and isinstance(now, Mapping):
            merged[key] = _merge(now, old if isinstance(old, Mapping) else {}, new)
        else:
            merged[key] = new
    return merged


def _without(fields: Mapping[str, Any], others: Mapping[str, Any]) -> Object:
    """The fields that the other manager does not have too: one that has two owners stays when one gives it up."""
    kept: Object = {}
    for key, value in fields.items():
        if key not in others:
            kept[key] = value
        elif isinstance(value, Mapping) and isinstance(others[key], Mapping) and (rest := _without(value, others[key])):
            kept[key] = rest
    return kept


def _managed(live: Object | None) -> dict[str, Object]:
    entries = live["metadata"].get("managedFields", []) if live else []
    return {entry["manager"]: entry["fields"] for entry in entries}


def _without_ours(fields: Object, wanted: Mapping[str, Any]) -> Object:
    """Another manager's fields without those that are ours by design and that we apply now."""
    for kind, field in OURS_BY_DESIGN:
        head, leaf = field.split(".")
        if kind == wanted["kind"] and leaf in wanted.get(head, {}) and leaf in fields.get(head, {}):
            fields = fields | {head: {k: v for k, v in fields[head].items() if k != leaf}}
    return fields


def _refuse_conflict(wanted: Object, others: Mapping[str, Object]) -> None:
    mine = dict(_leaves(wanted, ""))
    for manager, fields in others.items():
        for field, value in _leaves(fields, ""):
            if mine.get(field, value) != value:
                raise Refused(
                    f"{wanted['kind']} {wanted['metadata']['name']}: {field} is owned by {manager!r}.",
                    f"Leave {field} out, or let {manager!r} release it.",
                )


def _refuse_immutable(live: Object | None, merged: Object) -> None:
    if live and live["kind"] == "Deployment" and live["spec"]["selector"] != merged["spec"]["selector"]:
        raise Refused(
            f"Deployment {live['metadata']['name']}: spec.selector cannot change.",
            "Delete the Deployment first, or give the new one another name.",
        )


def _defaulted(obj: Object) -> Object:
    if obj["kind"] == "Deployment":
        return obj | {"spec": {"replicas": 1} | obj["spec"]}
    if obj["kind"] == "Service":
        ports = [{"protocol": "TCP", "targetPort": p["port"]} | p for p in obj["spec"].get("ports") or []]
        return obj | {"spec": {"type": "ClusterIP"} | obj["spec"] | {"ports": ports}}
    return obj


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
