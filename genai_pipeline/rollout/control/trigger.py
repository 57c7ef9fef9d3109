"""What is new about a release: exactly what changed against the one that is live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release

SHOWN = 80
"""Characters of a value; a chat template may be pages long."""


def trigger_of(spec: ModelSpec, desired: Release, live: Record | None) -> str:
    """As "new revision 0123abcd4567 of owner/name@main" or "serving.image: a -> b". Values of `env` are not told."""
    title = f"revision {desired.revision[:12]} of {spec.source.title}"
    if live is None:
        return f"first release: {title}"
    new = [f"new {title}"] if live.revision != desired.revision else []
    serving = spec.serving.model_dump(mode="json", by_alias=True)
    return " · ".join([*new, *_changes("serving", _section(live), serving)]) or f"{title} is asked for again"


def _section(record: Record) -> Mapping[str, Any]:
    """As written, and not by today's rules: they may refuse what was served yesterday."""
    return record.spec.get("serving") or {}


def _changes(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            yield from _changes(f"{path}.{key}", before.get(key), after.get(key))  # pyright: ignore
    elif before != after:
        told = f"{_said(before)} -> {_said(after)}"
        yield f"{path} changed" if path.startswith("serving.env") else f"{path}: {told}"


def _said(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
