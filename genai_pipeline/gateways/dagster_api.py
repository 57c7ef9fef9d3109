"""Dagster's webserver, asked over GraphQL.

The client of dagster-graphql can start, end and reload; it cannot list runs with their steps, nor sensors.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import NotFound, Unavailable
from genai_pipeline.core.run_tags import ATTEMPT_TAG, MODEL_TAG, PARTITION_TAG, RELEASE_TAG, ROLLOUT_TAG

LOCATION = "genai_pipeline"
UNFINISHED = ("NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING")

_RUNS = """
query Runs($filter: RunsFilter!, $limit: Int!) {
  runsOrError(filter: $filter, limit: $limit) {
    ... on Runs { results {
      runId jobName status creationTime startTime endTime
      tags { key value }
      stepStats { stepKey status startTime endTime }
    } }
    ... on Error { message }
  }
}"""

_LOCATION = """
{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } }
  } }
  ... on PythonError { message } } }"""

_SENSOR = """
query Sensor($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) { ... on Sensor { sensorState {
    status ticks(limit: 1) { status timestamp skipReason error { message } }
  } } }
}"""

_CANCEL = """
mutation Cancel($id: String!) {
  terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename ... on Error { message } }
}"""

_RELOAD = """
mutation Reload($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) { __typename ... on Error { message } }
}"""


@dataclass(frozen=True)
class Step:
    """`status` is Dagster's; times are Unix seconds."""

    key: str
    status: str | None
    started_at: float | None
    ended_at: float | None


@dataclass(frozen=True)
class Run:
    """One attempt of one release, or any other run. Times are Unix seconds."""

    id: str
    job: str
    status: str
    created_at: float
    ended_at: float | None
    model: str | None
    release: str | None
    steps: tuple[Step, ...]
    attempt: int | None = None
    """Of a rollout that the sensor requested."""

    @property
    def finished(self) -> bool:
        return self.status not in UNFINISHED


NO_DAGSTER = "On one machine run `genai up`. Elsewhere forward its port to this machine, or set GENAI_DAGSTER_URL."


class DagsterApi:
    """Every method raises Unavailable when the webserver does not answer."""

    def __init__(self, url: str, timeout_s: float = 15) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run_url(self, run_id: str) -> str:
        return f"{self.url}/runs/{run_id}"

    def latest_run(self, model: str, release: str | None = None) -> Run | None:
        """The newest run of a model, or of one of its releases."""
        tags = [{"key": MODEL_TAG, "value": model}]
        tags += [{"key": RELEASE_TAG, "value": release}] if release else []
        found = self._runs({"tags": tags}, 1)
        return found[0] if found else None

    def unfinished_runs(self) -> list[Run]:
        return self._runs({"statuses": list(UNFINISHED)}, 1000)

    def cancel(self, run_id: str) -> None:
        """End a run, at once and for good, whether its process still exists or not."""
        self._ask(_CANCEL, {"id": run_id})

    def reload(self) -> None:
        """Read the code and the model files again; runs under way finish with what they have."""
        self._ask(_RELOAD, {"name": LOCATION})

    def location_error(self) -> str | None:
        """Return why the code location is not loaded, or None if it is."""
        found = self._ask(_LOCATION)["workspaceOrError"]
        for entry in found.get("locationEntries", ()):
            loaded = entry["locationOrLoadError"]
            if loaded and loaded["__typename"] != "PythonError":
                return None
            return loaded["message"].strip() if loaded else f"it is {entry['loadStatus'].lower()}"
        return found.get("message", "the workspace is empty")

    def sensor_note(self, sensor: str) -> str:
        """Return what a sensor said on its last tick; empty before the first one."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION, "sensorName": sensor}
        state = (self._ask(_SENSOR, {"sensor": selector})["sensorOrError"] or {}).get("sensorState") or {}
        if state.get("status") == "STOPPED":
            return f"the sensor {sensor} is switched off: switch it on in the Dagster UI"
        ticks = state.get("ticks") or []
        if not ticks:
            return ""
        error = (ticks[0].get("error") or {}).get("message")
        return f"the sensor {sensor} failed: {error.strip()}" if error else ticks[0].get("skipReason") or ""

    def _runs(self, run_filter: Mapping[str, Any], limit: int) -> list[Run]:
        found = self._ask(_RUNS, {"filter": dict(run_filter), "limit": limit})["runsOrError"]
        return [_run(raw) for raw in found.get("results", ())]

    def _ask(self, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise NotFound(
                f"{self.url} is not the webserver of this installation: it answered {error.code}.", NO_DAGSTER
            ) from error
        except (OSError, ValueError) as error:
            raise Unavailable(f"Dagster at {self.url} does not answer ({error}).", NO_DAGSTER) from error
        if found.get("errors"):
            raise Unavailable(f"Dagster refused a question: {found['errors'][0].get('message')}.", "See its log.")
        return found["data"]


def _run(raw: Mapping[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in raw["tags"]}
    attempt = tags.get(ATTEMPT_TAG) if ROLLOUT_TAG in tags else None
    return Run(
        id=raw["runId"],
        job=raw["jobName"],
        status=raw["status"],
        created_at=raw["creationTime"],
        ended_at=raw["endTime"],
        model=tags.get(MODEL_TAG),
        release=tags.get(RELEASE_TAG) or tags.get(PARTITION_TAG),  # a run that a user launched by hand has no tag
        attempt=int(attempt) if attempt else None,
        steps=tuple(Step(s["stepKey"], s["status"], s["startTime"], s["endTime"]) for s in raw["stepStats"]),
    )
