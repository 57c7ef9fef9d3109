"""Tell Dagster again what the records know: partitions, materializations and check evaluations of every release.

For when its storage was lost. Each event has the time that the record has of it, and what Dagster knows already is
left alone. Plots and the logs of runs are in no record; they do not come back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from genai_pipeline.assets.tables import shown, table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import Refused
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Verdict

LOOKED_AT = 10_000
"""Evaluations of a check in which a release is looked for."""


@contextmanager
def open_instance(env: Mapping[str, str], profile: Profile) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's storage. Raises: Refused: its place is not known."""
    home = env.get("DAGSTER_HOME") or (str(profile.home / "dagster") if profile.name == "local" else "")
    if not home or not Path(home).is_dir():
        raise Refused(
            f"Dagster's storage is not known: DAGSTER_HOME is {home or 'not set'}.",
            "Run `genai up` first." if profile.name == "local" else "Run it where Dagster runs, with its DAGSTER_HOME.",
        )
    with dg.DagsterInstance.from_config(home) as instance:
        yield instance


@dataclass(frozen=True)
class Found:
    """What one asset found about one release; `at` is a Unix time."""

    at: float
    asset: str
    record: Record
    verdicts: Sequence[Verdict]


def rebuild(instance: dg.DagsterInstance, spec: ModelSpec, records: Sequence[Record], partitions: str) -> str:
    """Report what is missing, in the order in which it happened; returns what was done, in words.

    Args:
        partitions: name of the model's dynamic partitions.
    """
    known = set(instance.get_dynamic_partitions(partitions))
    instance.add_dynamic_partitions(partitions, [r.release for r in records if r.release not in known])
    materialized = evaluated = 0
    found = sorted((f for record in records for f in _found(record)), key=lambda f: f.at)
    seen = {(asset, check): _evaluated(instance, spec, asset, check) for asset in CHECKS for check in CHECKS[asset]}
    done = {asset: _materialized(instance, spec, asset) for asset in CHECKS}
    for one in found:
        if one.record.release not in done[one.asset] and not _ended_in_error(one.verdicts):
            _report(instance, one.at, _materialization(spec, one))
            materialized += 1
        for verdict in one.verdicts:
            if one.record.release not in seen.get((one.asset, verdict.check), {one.record.release}):
                _report(instance, one.at, _evaluation(instance, spec, one, verdict))
                evaluated += 1
    return (
        f"{len(records)} releases ({len(records) - len(known & {r.release for r in records})} new to Dagster), "
        f"{materialized} materializations and {evaluated} check evaluations reported."
    )


def _found(record: Record) -> Iterator[Found]:
    last = record.history[-1].at if record.history else "1970-01-01T00:00:00Z"
    for asset in CHECKS:
        verdicts = [v for name, v in record.verdicts.items() if name.startswith(f"{asset}.")]
        if verdicts:
            said = [event.at for event in record.history if event.what.startswith(f"{asset}: ")]
            yield Found(datetime.fromisoformat((said or [last])[-1]).timestamp(), asset, record, verdicts)


def _ended_in_error(verdicts: Sequence[Verdict]) -> bool:
    """Then the step ended without a materialization (assets/release_asset.py)."""
    return all("error" in verdict.evidence for verdict in verdicts)


def _materialization(spec: ModelSpec, one: Found) -> dg.AssetMaterialization:
    record = one.record
    metadata = {
        "release": record.release,
        "revision": record.revision,
        "seconds": record.timings.get(one.asset, 0.0),
        "verdicts": table([{"check": v.check, "outcome": str(v.outcome), "evidence": v.summary} for v in one.verdicts]),
        "rebuilt": True,
    }
    reports = {"serving_report": record.facts.serving, "agent_report": record.facts.agent}
    if report := reports.get(one.asset):
        figures = {k: v for k, v in report.figures.items() if not isinstance(v, list | tuple)}
        metadata["figures"] = table([{"figure": k, "value": v} for k, v in figures.items()])
    return dg.AssetMaterialization([spec.name, one.asset], partition=record.release, metadata=metadata)


def _evaluation(instance: dg.DagsterInstance, spec: ModelSpec, one: Found, verdict: Verdict) -> dg.AssetCheckEvaluation:
    """Of the materialization that was reported just before, as in a run; the UI counts no other evaluation."""
    asset = dg.AssetKey([spec.name, one.asset])
    latest = () if _ended_in_error(one.verdicts) else instance.fetch_materializations(asset, limit=1).records
    targets = [
        AssetCheckEvaluationTargetMaterializationData(storage_id=r.storage_id, run_id=r.run_id, timestamp=r.timestamp)
        for r in latest
    ]
    metadata = {"release": one.record.release, "outcome": str(verdict.outcome), **shown(verdict.evidence)}
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=verdict.check,
        passed=verdict.passed,
        metadata=metadata,
        target_materialization_data=next(iter(targets), None),
        description=verdict.summary,
        blocking=True,
    )


def _materialized(instance: dg.DagsterInstance, spec: ModelSpec, asset: str) -> set[str]:
    return set(instance.get_materialized_partitions(dg.AssetKey([spec.name, asset])))


def _evaluated(instance: dg.DagsterInstance, spec: ModelSpec, asset: str, check: str) -> set[str]:
    """Releases that the check was evaluated for, by what stands in its evidence."""
    key = dg.AssetCheckKey(dg.AssetKey([spec.name, asset]), check)
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=LOOKED_AT)
    events = [record.event.dagster_event for record in history if record.event]
    given = [event.event_specific_data for event in events if event]
    return {
        str(e.metadata["release"].value)
        for e in given
        if isinstance(e, dg.AssetCheckEvaluation) and "release" in e.metadata  # others were only planned
    }


def _report(instance: dg.DagsterInstance, at: float, event: dg.AssetMaterialization | dg.AssetCheckEvaluation) -> None:
    """As `instance.report_runless_asset_event`, which knows no time but now: what is old must not look fresh."""
    is_check = isinstance(event, dg.AssetCheckEvaluation)
    kind = DagsterEventType.ASSET_CHECK_EVALUATION if is_check else DagsterEventType.ASSET_MATERIALIZATION
    data = event if is_check else StepMaterializationData(event)
    reported = DagsterEvent(kind.value, RUNLESS_JOB_NAME, event_specific_data=data)
    instance.report_dagster_event(reported, run_id=RUNLESS_RUN_ID, timestamp=at)
