"""The output of steps, as the page of a run asks the webserver for it."""

from __future__ import annotations

from typing import Any

import dagster as dg
import httpx

QUESTION = """query ($run: ID!, $file: [String!]!) { runOrError(runId: $run) { ... on Run {
  eventConnection { events { ... on LogsCapturedEvent { fileKey stepKeys externalStderrUrl } } } } }
  capturedLogs(logKey: $file) { stdout stderr } }"""


def captured(graphql: str, run: dg.DagsterRun) -> dict[str, str]:
    """Step -> what it wrote to standard error."""
    keys = {step: event["fileKey"] for event in _asked(graphql, run, "none")["runOrError"]["eventConnection"]["events"]
            for step in event.get("stepKeys") or []}  # fmt: skip
    return {step: _asked(graphql, run, key)["capturedLogs"]["stderr"] or "" for step, key in keys.items()}


def _asked(graphql: str, run: dg.DagsterRun, file: str) -> dict[str, Any]:
    variables = {"run": run.run_id, "file": [run.run_id, "compute_logs", file]}
    answer = httpx.post(graphql, json={"query": QUESTION, "variables": variables}, timeout=60, trust_env=False)
    answer.raise_for_status()
    return answer.json()["data"]
