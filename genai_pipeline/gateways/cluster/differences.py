"""Compares an object as it is with the object as it would be. Pure; for both clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BOOK_KEEPING = frozenset({"managedFields", "generation", "resourceVersion", "uid", "creationTimestamp", "selfLink"})
"""Metadata that the cluster itself writes."""
_MISSING = object()


def differences(live: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield field, wanted and live value of every leaf that changes. A Secret's values are not shown."""
    hide = live.get("kind") == "Secret"
    for field, wanted, now in _leaf_differences(_presentable(after), _presentable(live), ""):
        hidden = hide and field.startswith(("data", "stringData"))
        yield (field, "(secret)", "(other secret)") if hidden else (field, wanted, now)


def _presentable(obj: Mapping[str, Any]) -> dict[str, Any]:
    rest = {k: v for k, v in obj.items() if k != "status"}
    return rest | {"metadata": {k: v for k, v in obj["metadata"].items() if k not in BOOK_KEEPING}}


def _leaf_differences(wanted: Any, live: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key in sorted({*wanted, *live}, key=str):
            inner = f"{path}.{key}" if path else str(key)
            yield from _leaf_differences(wanted.get(key, _MISSING), live.get(key, _MISSING), inner)
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (new, now) in enumerate(zip(wanted, live, strict=True)):
            yield from _leaf_differences(new, now, f"{path}[{index}]")
    elif wanted != live:
        yield path, None if wanted is _MISSING else wanted, None if live is _MISSING else live
