"""Dashboard *releases*: what is live, how rollouts went, and what evaluations found. From the lifecycle exporter."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.boards.panels import (
    MODEL,
    NAMESPACE,
    RELEASE,
    THIRD,
    Line,
    board,
    figure,
    graph,
    rows_of,
)
from genai_pipeline.observability.series import selector

PER_MODEL, PER_RELEASE = (NAMESPACE, MODEL), (NAMESPACE, MODEL, RELEASE)
LEGEND = "{{model}} {{release}}"


def releases_board() -> Dashboard:
    """Return the dashboard."""
    return board(
        "genai-releases",
        "GenAI: evaluation and releases",
        "What is live, how rollouts went, what evaluations found. The records of releases are the source.",
        [("Live", _live()), ("Rollouts", _rollouts()), ("Proof", _proof())],
    )


def _live():
    live = selector("genai_live_release_info", *PER_MODEL)
    since = f"time() - {selector('genai_live_since_timestamp_seconds', *PER_MODEL)}"
    watched = selector("genai_live_release_watched", *PER_MODEL)
    return [
        rows_of("Live", live, ["model", "release", "revision", "engine"], "What has user traffic.", 16, height=4),
        figure("Live for", "s", since, "Since its cut-over."),
        figure("Watched", "short", watched, "1: compared with the last good release, which is kept warm."),
    ]


def _rollouts():
    phases = f"sum by (model, phase) ({selector('genai_releases', *PER_MODEL)})"
    moved = f"sum by (model, kind) ({selector('genai_switches_total', *PER_MODEL)})"
    whole = selector("genai_rollout_duration_seconds", *PER_RELEASE)
    stages = selector("genai_stage_duration_seconds", *PER_RELEASE)
    staged = selector("genai_staged_bytes", *PER_RELEASE)
    compiled = selector("genai_release_compile_cache_hit", *PER_RELEASE)
    return [
        graph(
            "Releases", "short", Line(phases, "{{model}} {{phase}}"), why="By phase; rejected ones are in quarantine."
        ),
        graph("Switches", "short", Line(moved, "{{model}} {{kind}}"), why="Cut-overs and rollbacks so far."),
        graph("Rollout", "s", Line(whole, LEGEND), why="All stages together.", width=THIRD),
        graph(
            "Stages", "s", Line(stages, "{{stage}} {{release}}"), why="Where a rollout spends its time.", width=THIRD
        ),
        graph("Staged", "bytes", Line(staged, LEGEND), why="Bytes of the latest staging.", width=THIRD),
        rows_of(
            "Compile cache",
            compiled,
            ["model", "release", "reason", "Value"],
            "1: the candidate started from compiled code. Else the reason.",
        ),
    ]


def _proof():
    verdicts = f"sum by (release, outcome) ({selector('genai_verdicts', *PER_RELEASE)})"
    wrong = selector("genai_verdicts", *PER_RELEASE, 'outcome!="passed"')
    cases = selector("genai_evaluation_cases", *PER_RELEASE, 'result!="not_measured"')
    solved = selector("genai_evaluation_cases", *PER_RELEASE, 'result="solved"')
    share = f"sum by (model, release, suite) ({solved}) / sum by (model, release, suite) ({cases})"
    return [
        graph(
            "Verdicts", "short", Line(verdicts, "{{release}} {{outcome}}"), why="An inconclusive one is never a pass."
        ),
        rows_of(
            "Not passed", f"{wrong} > 0", ["model", "release", "stage", "outcome", "Value"], "Open the record for why."
        ),
        graph(
            "Pass rate",
            "percentunit",
            Line(share, "{{suite}} {{release}}"),
            why="Solved cases.",
            gate="task_success_min",
            width=24,
        ),
    ]
