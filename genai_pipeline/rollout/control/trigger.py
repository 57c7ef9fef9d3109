"""Say what is new about a release: what changed compared with the live one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline.core.model_spec import NO_AGENT, ModelSpec, without_later_defaults
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.task import Task

SHOWN = 80
"""Longest value that is shown, in characters. A chat template may be pages long."""


def trigger_of(spec: ModelSpec, desired: Release, live: Record | None) -> str:
    """Return what started a rollout, as "new revision 0123abcd4567 of owner/name@main" or "serving.image: a -> b".

    Values of `env` may be secret, so only their names are shown.
    """
    title = f"revision {desired.revision[:12]} of {spec.source.title}"
    if live is None:
        return f"first release: {title}"
    new = [f"new {title}"] if live.revision != desired.revision else []
    then, now = _makes_a_release(live.spec), _makes_a_release(spec.model_dump(mode="json", by_alias=True))
    return " · ".join([*new, *_changes("", then, now)]) or f"{title} is asked for again"


def _makes_a_release(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parts as they were written: today's rules may refuse what was served yesterday."""
    agent = NO_AGENT if spec.get("agent") == NO_AGENT else "yes"
    serving = without_later_defaults(spec.get("serving") or {})
    return {"serving": serving, "task": spec.get("task", Task.CHAT), "agent": agent}


def _changes(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}, key=str):
            yield from _changes(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))  # pyright: ignore
    elif before != after:
        is_secret = path.startswith("serving.env")
        yield f"{path} changed" if is_secret else f"{path}: {_shortened(before)} -> {_shortened(after)}"


def _shortened(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
