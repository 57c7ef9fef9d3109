"""What a plan found, as plain data, as a page and as JSON. The JSON is an interface: fields are only added.

```
{"schema": 1, "model", "file", "outcome": "would go live" | "to change" | "not all known",
 "sections": [{"title", "lines": [{"level": "ok" | "hint" | "change" | "unknown", "text"}], "figures": {…}}],
 "to_change": {…}}
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from genai_pipeline.core.errors import GenaiError, NotReady, Unavailable
from genai_pipeline.core.verdict import Outcome, Verdict

SCHEMA = 1
TO_CHANGE, NOT_ALL_KNOWN, WOULD_GO_LIVE = "to change", "not all known", "would go live"
EXIT_CODES = {WOULD_GO_LIVE: 0, TO_CHANGE: 1, NOT_ALL_KNOWN: 2}

Level = Literal["ok", "hint", "change", "unknown"]
_LEVELS: Mapping[Outcome, Level] = {
    Outcome.PASSED: "ok",
    Outcome.FAILED: "change",
    Outcome.INCONCLUSIVE: "unknown",
}
_SNIPPET = re.compile(r"\n(?=(?:source|serving|agent|gates|rollout):\n)((?:[a-z]+:\n(?:[ ]+.*(?:\n|$))+)+)")
"""The lines for the model file with which messages end."""


@dataclass(frozen=True)
class PlanLine:
    """One statement. `change`: the model file or the platform must change. `unknown`: it could not be looked at."""

    level: Level
    text: str

    @classmethod
    def of(cls, verdict: Verdict) -> PlanLine:
        prefix = "not known: " if verdict.outcome is Outcome.INCONCLUSIVE else ""
        return cls(_LEVELS[verdict.outcome], prefix + verdict.summary)

    @classmethod
    def of_error(cls, error: GenaiError, what: str = "") -> PlanLine:
        """Return the line for a question that ended with an error. What did not answer may answer later."""
        if isinstance(error, Unavailable | NotReady):
            return cls("unknown", f"not known: {what}{': ' if what else ''}{error}")
        return cls("change", str(error))

    @property
    def words(self) -> str:
        """Return the text without the lines for the model file, which stand in one place."""
        return re.sub(r":$", " (see `To change`).", _SNIPPET.sub("", self.text).strip())

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what the model file should say instead."""
        import yaml

        found = _SNIPPET.search(self.text)
        return yaml.safe_load(found[1]) if found else {}


@dataclass(frozen=True)
class PlanSection:
    """Everything about one subject. `figures` are for machines."""

    title: str
    lines: Sequence[PlanLine]
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class ModelPlan:
    """What a rollout of a model file would do. `written` is what the file says today, for lists that grow."""

    model: str
    file: str
    sections: Sequence[PlanSection]
    written: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def outcome(self) -> str:
        levels = {line.level for section in self.sections for line in section.lines}
        return TO_CHANGE if "change" in levels else NOT_ALL_KNOWN if "unknown" in levels else WOULD_GO_LIVE

    @property
    def to_change(self) -> dict[str, Any]:
        """Return every setting that the lines name, as one piece of a model file."""
        merged: dict[str, Any] = {}
        for section in self.sections:
            for line in section.lines:
                _merge(merged, line.settings, self.written)
        return merged

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": self.model,
            "file": self.file,
            "outcome": self.outcome,
            "sections": [
                {
                    "title": section.title,
                    "lines": [{"level": line.level, "text": line.words} for line in section.lines],
                    "figures": dict(section.figures),
                }
                for section in self.sections
            ],
            "to_change": self.to_change,
        }

    def page(self) -> Iterator[str]:
        """Yield the lines for a terminal."""
        import yaml

        yield f"{self.model}   {self.file}"
        for section in self.sections:
            for number, line in enumerate(section.lines):
                title = "" if number else section.title
                first, *more = line.words.splitlines()
                yield f"{title:9} {line.level:8} {first}"
                yield from (f"{'':18} {further}" for further in more)
        changes = self.to_change
        yield ""
        if changes:
            yield "To change in the model file:" if self.outcome == TO_CHANGE else "Worth changing in the model file:"
            yield yaml.safe_dump(
                changes, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
            ).rstrip()
            yield ""
        yield _ends(self)


def _ends(plan: ModelPlan) -> str:
    levels = [line.level for section in plan.sections for line in section.lines]
    changes, unknown = levels.count("change"), levels.count("unknown")
    known = f" {unknown} could not be looked at." if unknown else ""
    if changes:
        return f"It would not go live: {changes} to change.{known} Nothing was written."
    if unknown:
        return f"It is not known whether it would go live.{known} Nothing else has to change. Nothing was written."
    return "It would go live, as far as can be known. Nothing was written."


def _merge(into: dict[str, Any], more: Mapping[str, Any], written: Mapping[str, Any]) -> None:
    """Add settings. A list keeps what the file says today, because a new value would replace it."""
    for key, value in more.items():
        today: Any = written.get(key)
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), cast("Mapping[str, Any]", value), today or {})
        elif isinstance(value, list):
            into[key] = list(dict.fromkeys([*into.get(key, today or ()), *cast("list[Any]", value)]))
        else:
            into[key] = value
