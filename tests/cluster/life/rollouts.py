"""Watch a rollout from outside: the record in S3, the pods, and what Dagster kept of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagster import AssetCheckEvaluation, DagsterEventType, DagsterInstance

from genai_pipeline.core.record import Phase, Record
from tests.cluster.life.surroundings import Installation
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import what_happened

ROLLOUT_DEADLINE_S = 1500


@dataclass(frozen=True)
class Ended:
    """How a release ended; `why` is for the reader of a failed test."""

    record: Record
    why: str


def wait_until_ended(installation: Installation, model: str, revision: str, engine: str = "") -> Ended:
    """The record of the release of `revision`, and of that engine, once it is live or ended badly.

    Raises: TimeoutError: with what the cluster and Dagster say.
    """
    records = installation.engines.records()

    def ended() -> Record | None:
        found = [r for r in records.all(model) if r.revision == revision and engine in ("", r.as_release.engine)]
        return found[-1] if found and found[-1].phase not in (Phase.ROLLING_OUT, Phase.REPLACED) else None

    try:
        record = until(ended, f"the end of the rollout of {revision[:12]}", ROLLOUT_DEADLINE_S)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{told(installation)}") from error
    return Ended(record, "" if record.phase is Phase.LIVE else f"{record.reason}\n{told(installation)}")


def told(installation: Installation) -> str:
    return f"{what_happened(installation.cluster.kubeconfig, installation.namespace)}\n{installation.processes.logs()}"


def checks_of_last_rollout(installation: Installation) -> Mapping[str, str]:
    """Check -> outcome and evidence, as Dagster shows them for the newest rollout and its promotion."""
    records = []
    with DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        for run in reversed(instance.get_runs(limit=2)):
            until(lambda run=run: instance.get_run_by_id(run.run_id).is_finished, "the end of the run", 60)  # pyright: ignore[reportOptionalMemberAccess]
            of_run = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
            records.extend(of_run.records)
    found: dict[str, str] = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        data = event.event_specific_data if event else None
        if isinstance(data, AssetCheckEvaluation):
            found[f"{data.asset_key.to_user_string()}.{data.check_name}"] = (
                "passed" if data.passed else f"{data.metadata['outcome'].value}: {data.description}"
            )
    return found
