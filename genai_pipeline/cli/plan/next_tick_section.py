"""The part of a plan about the controller: what the next tick would do about the model, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY
from genai_pipeline.gateways.dagster_api import Run
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.rollout.control.controller import ROLLOUT_JOBS, ActiveRun, situation_of, why_full
from genai_pipeline.rollout.control.rollout_plan import Situation, plan_rollout
from genai_pipeline.rollout.record.record_cache import RecordCache

TITLE = "Next tick"


def look_at_next_tick(
    spec: ModelSpec, revision: str | GenaiError, store: ObjectStore, runs: Callable[[], Sequence[Run]], most: int
) -> PlanSection:
    """Plan the next step as the controller does.

    Args:
        runs: returns the runs under way.
        most: rollouts that may be under way at once.
    """
    lines: list[PlanLine] = []
    try:
        under_way = [_active(run) for run in runs() if run.model]
    except GenaiError as error:
        lines.append(PlanLine.of_error(error, "which runs are under way. The line below assumes that no run is"))
        under_way = []
    try:
        of = situation_of(spec, RecordCache(store).read([spec.name])[spec.name], revision)
    except GenaiError as error:
        return PlanSection(TITLE, [*lines, PlanLine.of_error(error, "what would start next")])
    busy = {run.model: run.what for run in under_way}.get(spec.name, "")
    taken = {run.model for run in under_way if run.rolls_out}
    of = replace(of, busy=busy, full=why_full(taken, most), now=datetime.now(UTC))
    step = plan_rollout(of)
    lines.append(PlanLine("change" if _is_in_quarantine(of) else "ok", f"{step.step}: {step.why}."))
    if of.superseded and not busy:
        old = ", ".join(record.release for record in of.superseded)
        lines.append(PlanLine("hint", f"It takes the place of {old}, which is on its way."))
    return PlanSection(TITLE, lines, {"step": str(step.step), "release": of.desired.id})


def _active(run: Run) -> ActiveRun:
    what = f"{run.job} of {run.release or run.model} (run {run.id[:8]})"
    return ActiveRun(run.model or "", what, run.job.startswith(ROLLOUT_JOBS))


def _is_in_quarantine(of: Situation) -> bool:
    """Return whether the controller will never try this release again."""
    is_live = of.live is not None and of.live.release == of.desired.id
    return of.record is not None and of.record.phase in ENDED_BADLY and not is_live
