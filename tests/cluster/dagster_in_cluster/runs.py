"""The runs of a Dagster in the cluster, and the Jobs and pods that they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from genai_pipeline.core.run_tags import PARTITION_TAG
from tests.cluster.identities import kubectl
from tests.cluster.life.surroundings import Installation
from tests.cluster.machine.cluster import until

RUN_LABEL = "dagster/run-id"
STARTS_S = 600
"""A run's process imports Dagster and all definitions, and so does each of its steps."""
ENDS_S = 900
ENDED_BADLY = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
FINISHED = (*ENDED_BADLY, dg.DagsterRunStatus.SUCCESS)


@dataclass(frozen=True)
class Runs:
    """What Dagster and Kubernetes know of the runs of one installation."""

    installation: Installation
    instance: dg.DagsterInstance

    def of(self, release: str, job: str = "") -> Sequence[dg.DagsterRun]:
        """Those of a release, the oldest first. Args: job: how the name of the job begins."""
        found = self.instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: release}))
        return [run for run in reversed(found) if run.job_name.startswith(job)]

    def requested(self, release: str, job: str, number: int = 1) -> dg.DagsterRun:
        """The run of that number, as soon as there is one."""
        found = lambda: self.of(release, job)[number - 1 : number]  # noqa: E731
        return until(found, f"run {number} of {job}", STARTS_S)[0]

    def started(self, release: str, job: str, number: int = 1) -> dg.DagsterRun:
        """The run of that number, as soon as its process runs."""
        run = self.requested(release, job, number)
        until(lambda: self.events(run, dg.DagsterEventType.RUN_START), f"the start of run {number} of {job}", STARTS_S)
        return run

    def ended(self, run: dg.DagsterRun) -> dg.DagsterRunStatus:
        """How it ended, as soon as it has."""

        finished = lambda: self.instance.get_runs(dg.RunsFilter([run.run_id], statuses=FINISHED))  # noqa: E731
        return until(finished, f"the end of {run.job_name}", ENDS_S)[0].status

    def events(self, run: dg.DagsterRun, of_type: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        found = self.instance.get_records_for_run(run.run_id, of_type=of_type).records
        return [r.event_log_entry.dagster_event for r in found if r.event_log_entry.dagster_event]

    def wait_for_step(self, run: dg.DagsterRun, of_type: dg.DagsterEventType, step: str) -> None:
        """Wait for an event of one step. Args: step: the end of its key."""
        seen = lambda: [e for e in self.events(run, of_type) if (e.step_key or "").endswith(step)]  # noqa: E731
        until(seen, f"{of_type.value} of {step}", STARTS_S)

    def pod(self, run: dg.DagsterRun) -> dict[str, Any]:
        """The pod of a run, as soon as there is one. Raises: ValueError: there is more than one."""
        found = lambda: _found(self.installation, "pods", f"{RUN_LABEL}={run.run_id}")  # noqa: E731
        (pod,) = until(found, f"the pod of {run.job_name}", STARTS_S)
        return pod

    def jobs(self) -> list[dict[str, Any]]:
        """Every Job that was made for a run; they are kept for a day."""
        return _found(self.installation, "jobs", RUN_LABEL)


@contextmanager
def runs_of(installation: Installation) -> Iterator[Runs]:
    """Read the runs where the Dagster in the cluster writes them."""
    with dg.DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        yield Runs(installation, instance)


def _found(installation: Installation, kind: str, label: str) -> list[dict[str, Any]]:
    words = ["get", kind, "-n", installation.namespace, "-l", label, "-o", "json"]
    return json.loads(kubectl(installation.cluster.kubeconfig, *words).stdout)["items"]
