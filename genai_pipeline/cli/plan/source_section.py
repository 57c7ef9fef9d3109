"""The part of a plan about the source: what m/snapshot would judge, and what a staging would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.cli.staging_view import size
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.staging.loadable import CHECK as LOADABLE
from genai_pipeline.staging.preflight import preflight
from genai_pipeline.staging.staging_verdicts import judge_snapshot


@dataclass(frozen=True)
class FoundSource:
    """What later parts need. `snapshot` is None where the source did not answer, or nothing of it may be staged.

    Args:
        revision: empty where the source did not answer.
        loaded_bytes: of the weights that an engine loads.
        dtype: number format of the weights as config.json says it.
    """

    section: PlanSection
    revision: str = ""
    snapshot: Snapshot | None = None
    loaded_bytes: int = 0
    dtype: str = ""


def look_at_source(spec: ModelSpec, hub: Hub, revision: str | GenaiError) -> FoundSource:
    """Judge a source as m/snapshot and the beginning of m/staged_model do.

    Args:
        revision: what the source's ref stands for now, or why that is not known.
    """
    if isinstance(revision, GenaiError):
        return FoundSource(PlanSection("Source", [PlanLine.of_error(revision)]))
    lines = [PlanLine("ok", f"{spec.source.title} is at {revision[:12]}.")]
    try:
        snapshot = hub.snapshot(spec.source.address, revision)
        verdicts = judge_snapshot(snapshot, spec.source.licences, hub, spec.serving.args, spec.task, spec.has_agent)
    except GenaiError as error:
        return FoundSource(PlanSection("Source", [*lines, PlanLine.of_error(error)]), revision)
    evidence = next(v.evidence for v in verdicts if v.check == LOADABLE)
    loaded = frozenset(evidence.get("loaded", ()))
    loaded_bytes = sum(file.size for file in snapshot.files if file.path in loaded)
    lines += [line for verdict in verdicts for line in _lines_of(verdict)]
    refused = _refused(hub, snapshot)
    if refused and not any(refused.text.endswith(line.text) for line in lines):
        lines.append(refused)
    lines.append(
        PlanLine(
            "ok", f"{len(snapshot.files)} files, {size(snapshot.size_bytes)}; {size(loaded_bytes)} of them are loaded."
        )
    )
    figures = {
        "revision": revision,
        "licence": snapshot.licence,
        "files": len(snapshot.files),
        "bytes": snapshot.size_bytes,
        "bytes_loaded": loaded_bytes,
        "left_out": [left.file.path for left in snapshot.left_out],
    }
    stageable = None if refused and refused.level == "change" else snapshot
    return FoundSource(
        PlanSection("Source", lines, figures), revision, stageable, loaded_bytes, evidence.get("dtype", "")
    )


def _lines_of(verdict: Verdict) -> Iterator[PlanLine]:
    if verdict.check != LOADABLE:
        if verdict.check != "revision_pinned" or not verdict.passed:
            yield PlanLine.of(verdict)
        return
    line = PlanLine.of(verdict)
    yield PlanLine(line.level, line.text.partition(" Warning: ")[0]) if verdict.passed else line
    yield from (PlanLine("hint", warning) for warning in verdict.evidence.get("warnings", ()))


def _refused(hub: Hub, snapshot: Snapshot) -> PlanLine | None:
    """Return why a staging would move nothing, or None if it would begin. The headers of the weights are read."""
    try:
        preflight(hub, snapshot)
    except GenaiError as error:
        return PlanLine.of_error(error, "whether the weights' headers are whole")
    return None
