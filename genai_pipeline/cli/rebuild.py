"""Report to Dagster what the records know, after its storage was lost: every release with its proof.

Dagster stamps these events with the time of the rebuild. Their metadata `recorded_at` is the time of the proof. What
Dagster knows already is left alone. Plots and the logs of runs are in no record; they do not come back.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from genai_pipeline.assets.check_results import severity_of
from genai_pipeline.assets.tables import shown, table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import Refused
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.core.run_tags import PARTITION_TAG
from genai_pipeline.core.verdict import Verdict


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


def rebuild(instance: dg.DagsterInstance, spec: ModelSpec, records: Sequence[Record], partitions: str) -> str:
    """Report what is missing, in the order in which it happened. Return in words what was done.

    Args:
        partitions: name of the model's dynamic partitions.
    """
    known = set(instance.get_dynamic_partitions(partitions))
    new = [record.release for record in records if record.release not in known]
    instance.add_dynamic_partitions(partitions, new)
    found = sorted((f for record in records for f in _found(spec, record)), key=lambda f: f.at)
    missing = [one for one in found if not _is_known(instance, one)]
    for one in missing:
        for verdict in one.verdicts:
            instance.report_runless_asset_event(_evaluation(one, verdict))
        # It comes last: after a kill it is missing, and the next rebuild reports the whole asset.
        instance.report_runless_asset_event(_result(one))
    return (
        f"{len(records)} releases ({len(new)} new to Dagster), "
        f"{sum(not one.is_error for one in missing)} materializations and "
        f"{sum(len(one.verdicts) for one in missing)} check evaluations reported."
    )


@dataclass(frozen=True)
class _AssetOutcome:
    """What one asset found about one release; `at` is a Unix time."""

    at: float
    asset: str
    key: dg.AssetKey
    record: Record
    verdicts: Sequence[Verdict]

    @property
    def is_error(self) -> bool:
        """Say whether the asset ended in an error, so that its step materialized nothing."""
        return all("error" in verdict.evidence for verdict in self.verdicts)

    @property
    def metadata(self) -> dict[str, Any]:
        return {"release": self.record.release, "recorded_at": dg.MetadataValue.timestamp(self.at)}


def _found(spec: ModelSpec, record: Record) -> Iterator[_AssetOutcome]:
    last = record.history[-1].at if record.history else "1970-01-01T00:00:00Z"
    for asset, checks in CHECKS.items():
        verdicts = [record.verdicts[name] for check in checks if (name := f"{asset}.{check}") in record.verdicts]
        if verdicts:
            said = [event.at for event in record.history if event.what.startswith(f"{asset}: ")]
            at = datetime.fromisoformat((said or [last])[-1]).timestamp()
            yield _AssetOutcome(at, asset, dg.AssetKey([spec.name, asset]), record, verdicts)


def _is_known(instance: dg.DagsterInstance, one: _AssetOutcome) -> bool:
    """Say whether Dagster has the asset's event for this release, or the run whose step ended in the error."""
    release = one.record.release
    fetch = instance.fetch_observations if one.is_error else instance.fetch_materializations
    if fetch(dg.AssetRecordsFilter(asset_key=one.key, asset_partitions=[release]), limit=1).records:
        return True
    runs = dg.RunsFilter(tags={PARTITION_TAG: release})
    return one.is_error and bool(instance.get_run_records(runs, limit=1))


def _result(one: _AssetOutcome) -> dg.AssetMaterialization | dg.AssetObservation:
    """Return what the asset ended with: a materialization, or for an error an observation, which proves nothing."""
    record = one.record
    metadata = one.metadata | {
        "revision": record.revision,
        "seconds": record.timings.get(one.asset, 0.0),
        "verdicts": table([{"check": v.check, "outcome": str(v.outcome), "evidence": v.summary} for v in one.verdicts]),
        "rebuilt": True,
    }
    reports = {"serving_report": record.facts.serving, "agent_report": record.facts.agent}
    if report := reports.get(one.asset):
        figures = {k: v for k, v in report.figures.items() if not isinstance(v, list | tuple)}
        metadata["figures"] = table([{"figure": k, "value": v} for k, v in figures.items()])
    event = dg.AssetObservation if one.is_error else dg.AssetMaterialization
    return event(one.key, partition=record.release, metadata=metadata)


def _evaluation(one: _AssetOutcome, verdict: Verdict) -> dg.AssetCheckEvaluation:
    """Return the evaluation of one check. The UI counts it, because it has the run id of the materialization: none."""
    return dg.AssetCheckEvaluation(
        asset_key=one.key,
        check_name=verdict.check,
        passed=verdict.passed,
        severity=severity_of(verdict),
        metadata=one.metadata | {"outcome": str(verdict.outcome)} | shown(verdict.evidence),
        description=verdict.summary,
        blocking=True,
    )
