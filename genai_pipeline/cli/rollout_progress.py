"""How far each model's rollout is: what the record, the live pointer and Dagster's newest run say, put together.

The run knows what is under way, the record what was found. Neither starts anything: the version sensor does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.purpose import checks_of
from genai_pipeline.core.record import Live, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.dagster_api import DagsterApi, Run, Step
from genai_pipeline.rollout.control.controller import PROMOTION_JOBS, SENSORS
from genai_pipeline.rollout.control.rollout_plan import needs_approval, why_closed
from genai_pipeline.rollout.record.records import Records

RESOLVE_EVERY_S = 10.0


class State(StrEnum):
    """Where a rollout stands. The first three go on by themselves; every other one is an end, or waits for a user."""

    WAITING = "waiting"
    ROLLING_OUT = "rolling out"
    SUPERSEDED = "superseded"
    LIVE = "live"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled back"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting approval"
    OUTSIDE_WINDOW = "outside its window"


ENDED_BADLY = frozenset({State.REJECTED, State.ROLLED_BACK})
ENDS = ENDED_BADLY | {State.LIVE, State.PAUSED, State.AWAITING_APPROVAL, State.OUTSIDE_WINDOW}


@dataclass(frozen=True)
class AssetProgress:
    """One asset of the release that is rolled out.

    Args:
        state: waiting, running, skipped, or the outcome: passed, failed, inconclusive.
        seconds: so far, or altogether; None while it waits.
    """

    name: str
    state: str
    seconds: float | None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def not_passed(self) -> tuple[Verdict, ...]:
        return tuple(v for v in self.verdicts if not v.passed)


@dataclass(frozen=True)
class RolloutProgress:
    """One model.

    Args:
        note: what the rollout waits for.
        ended_before: it was rejected or rolled back before this command began to watch.
    """

    model: str
    state: State
    release: str | None = None
    live: Live | None = None
    record: Record | None = None
    run: Run | None = None
    assets: tuple[AssetProgress, ...] = ()
    note: str = ""
    ended_before: bool = False

    @property
    def is_refused(self) -> bool:
        """Return whether the release ended badly now, or before with no other release live."""
        return self.state in ENDED_BADLY and not (self.ended_before and self.live)


def rollout_of(
    spec: ModelSpec, wanted: Release, live: Live | None, record: Record | None, run: Run | None, now: float
) -> RolloutProgress:
    """Put together what is known of a model whose source and model file ask for `wanted`. Pure."""
    under_way = run is not None and not run.finished
    assets = tuple(_asset(spec, name, record, run, now) for name in checks_of(spec))
    found = (State.ROLLING_OUT, "") if under_way else _at_rest(spec, wanted, live, record, now)
    return RolloutProgress(spec.name, found[0], wanted.id, live, record, run, assets, found[1])


def _at_rest(
    spec: ModelSpec, wanted: Release, live: Live | None, record: Record | None, now: float
) -> tuple[State, str]:
    """Return the state of a model without a run, and what the user has to do, if anything."""
    if live and live.release == wanted.id:
        return State.LIVE, ""
    if record and record.phase is Phase.REJECTED:
        return State.REJECTED, ""
    if record and record.phase is Phase.ROLLED_BACK:
        return State.ROLLED_BACK, ""
    if spec.rollout.paused:
        return State.PAUSED, ""
    if record and record.phase is Phase.AWAITING_APPROVAL and needs_approval(spec, record):
        return State.AWAITING_APPROVAL, record.reason
    if closed := why_closed(spec, datetime.fromtimestamp(now, UTC)):
        return State.OUTSIDE_WINDOW, closed
    if record and record.phase is Phase.SUPERSEDED:
        return State.SUPERSEDED, record.reason
    return State.WAITING, ""


def _asset(spec: ModelSpec, name: str, record: Record | None, run: Run | None, now: float) -> AssetProgress:
    if run and run.job.startswith(PROMOTION_JOBS) and name != "live":  # the record has what the rollout's run found
        run = None
    step = _step(run, f"{spec.group}__{name}")
    under_way = run is not None and not run.finished
    if step and step.status in ("IN_PROGRESS", "STARTED") and under_way:
        return AssetProgress(name, "running", now - step.started_at if step.started_at else None)
    if under_way and (step is None or step.status is None):
        return AssetProgress(name, "waiting", None)
    found = _verdicts(record, name)
    if record and found:
        return AssetProgress(name, str(record.outcome_of(name)), record.timings.get(name), found)
    if step and step.status == "FAILURE":
        return AssetProgress(name, "failed", _seconds(step))
    if step and step.status == "SUCCESS":
        return AssetProgress(name, "passed", _seconds(step))
    return AssetProgress(name, "skipped" if step else "waiting", None)


def _verdicts(record: Record | None, asset: str) -> tuple[Verdict, ...]:
    given: Mapping[str, Verdict] = record.verdicts if record else {}
    return tuple(v for name, v in given.items() if name.startswith(f"{asset}."))


def _step(run: Run | None, key: str) -> Step | None:
    return next((s for s in run.steps if s.key == key), None) if run else None


def _seconds(step: Step) -> float | None:
    return step.ended_at - step.started_at if step.started_at and step.ended_at else None


@dataclass
class ProgressReader:
    """Looks at the models, as often as it is asked. What does not answer becomes a rollout's note."""

    gateways: Gateways
    api: DagsterApi
    _wanted: dict[str, tuple[float, Release]] = field(default_factory=dict[str, tuple[float, Release]])

    def look(self, spec: ModelSpec) -> RolloutProgress:
        records = Records(self.gateways.store)
        try:
            wanted = self._release_wanted(spec)
            live, record = records.live(spec.name), records.get(spec.name, wanted.id)
            run = self.api.latest_run(spec.name, wanted.id)
            seen = rollout_of(spec, wanted, live, record, run, time.time())
            waits = seen.state in (State.WAITING, State.SUPERSEDED)
            return replace(seen, note=self._note(spec, record)) if waits else seen
        except GenaiError as error:
            return RolloutProgress(spec.name, State.WAITING, note=str(error))

    def _release_wanted(self, spec: ModelSpec) -> Release:
        asked_at, release = self._wanted.get(spec.name, (0.0, None))
        if release is None or time.monotonic() - asked_at > RESOLVE_EVERY_S:
            release = Release.of(spec, self.gateways.source(spec.source).resolve(spec.source.address, spec.source.ref))
            self._wanted[spec.name] = (time.monotonic(), release)
        return release

    def _note(self, spec: ModelSpec, record: Record | None) -> str:
        """Return what the version sensor said about this model."""
        broken = self.api.location_error()
        if broken:
            return f"Dagster cannot load the code location: {broken}"
        said = self.api.sensor_note(SENSORS[spec.source.kind])
        own = [line for line in said.splitlines() if line.startswith(f"{spec.name}: ")]
        silent = (
            "its next run is about to begin"
            if record
            else "the next tick of the version sensor starts it or says why not"
        )
        return own[0].removeprefix(f"{spec.name}: ") if own else said or silent
