"""Alerts of one model, from the gates of its model file. The limits are those of the watch after a promotion.

Only the release with user traffic counts. Where no exporter says which one that is, every release counts. A figure that
is absent or NaN fires no alert but `GenaiEngineUnseen`, which is about absence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.observability.exporter import READ_AT
from genai_pipeline.observability.recordings import FIRST_OUTPUT, IN_TIME, OBJECTIVE, Rule, labels_of
from genai_pipeline.observability.series import (
    PODS_OF_ENGINES,
    answers,
    engine,
    equals,
    failed_share,
    rate_of,
    selector,
)
from genai_pipeline.rollout.watch.limits import limits_of
from genai_pipeline.rollout.watch.metrics import MIN_ERRORS

BY = ("namespace", "model", "release")
LIVE = "genai_live_release_info"
WITH_TRAFFIC = "genai:release_with_traffic"
FAST_BURN, SLOW_BURN = 14.4, 6.0
"""Source: Google, "The Site Reliability Workbook", chapter "Alerting on SLOs"."""
UNSEEN_S = 300
WINDOW, WINDOW_S = "5m", 300


@dataclass(frozen=True)
class Alert:
    """One alert. `severity`: critical where users are hurt now, else warning. `hold_s`: seconds until it fires."""

    name: str
    expr: str
    hold_s: float
    severity: str
    summary: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def rule(self, runbooks: str) -> Rule:
        """Return the rule as Prometheus reads it.

        Args:
            runbooks: address of docs/operations.md.
        """
        noted = {"summary": self.summary, "runbook_url": f"{runbooks}#{self.name.lower()}"}
        labels = {**self.labels, "severity": self.severity}
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.hold_s:.0f}s",
            "labels": labels,
            "annotations": noted,
        }


def with_traffic(spec: ModelSpec, namespace: str) -> Rule:
    """Return the recording rule that says which releases alerts are about.

    A release on its way to its first traffic is none of them: the exporter says what is live, and so what is not.
    """
    ours = (equals("namespace", namespace), equals("model", spec.name))
    live = f"group by ({', '.join(BY)}) ({selector(LIVE, *ours)})"
    seen = f"group by ({', '.join(BY)}) ({selector('up', *ours, PODS_OF_ENGINES)})"
    said = selector(READ_AT, equals("namespace", namespace))
    expr = f"{live} or ({seen} unless on (namespace) {said} > 0)"
    return {"record": WITH_TRAFFIC, "expr": expr, "labels": labels_of(spec, namespace)}


def alerts_of(spec: ModelSpec, namespace: str) -> list[Alert]:
    """Return the alerts of one model."""
    ours = (equals("namespace", namespace), equals("model", spec.name))
    of_model = labels_of(spec, namespace)

    def alert(name: str, expr: str, hold_s: float, severity: str, summary: str) -> Alert:
        served = f"({expr}) and on ({', '.join(BY)}) {selector(WITH_TRAFFIC, *ours)}"
        return Alert(name, served, hold_s, severity, f"{spec.name} {{{{ $labels.release }}}}: {summary}", of_model)

    limits, hold_s = limits_of(spec, None), spec.rollout.breach.hold_s
    waiting = f"sum by ({', '.join(BY)}) ({engine('num_requests_waiting', *ours)}) >= {max(limits.queue, 1):g}"
    cache = f"max by ({', '.join(BY)}, pod) ({engine('kv_cache_usage_perc', *ours)}) >= {limits.kv_cache:g}"
    late = "of first outputs are later than the gate allows."
    unseen = (
        f"{selector(WITH_TRAFFIC, *ours)} unless on ({', '.join(BY)}) ({selector('up', *ours, PODS_OF_ENGINES)} == 1)"
    )
    return [
        Alert("GenaiEngineUnseen", unseen, UNSEEN_S, "critical", _unseen(spec), of_model),
        alert(
            "GenaiAnswersFail",
            _failing(spec, ours),
            hold_s,
            "critical",
            "{{ $value | humanizePercentage }} of answers fail.",
        ),
        alert("GenaiFirstOutputLate", _burning(spec, ours, FAST_BURN, "1h", "5m"), hold_s, "critical", f"most {late}"),
        alert(
            "GenaiFirstOutputSlow", _burning(spec, ours, SLOW_BURN, "6h", "30m"), hold_s, "warning", f"a third {late}"
        ),
        alert("GenaiQueueLong", waiting, hold_s, "warning", "{{ $value }} requests wait in the engine."),
        *([alert("GenaiKvCacheFull", cache, hold_s, "warning", _full())] if limits.generates else []),
    ]


def _unseen(spec: ModelSpec) -> str:
    return f"{spec.name} {{{{ $labels.release }}}} has the traffic, and no pod of its engine was scraped."


def _full() -> str:
    return "the KV cache of {{ $labels.pod }} is {{ $value | humanizePercentage }} full."


def _failing(spec: ModelSpec, ours: tuple[str, ...]) -> str:
    """Return when answers fail, by the rule of the watch: more than the limit, at least three, of enough requests."""
    limits = limits_of(spec, None)
    share = f"{failed_share(WINDOW, BY, *ours)} > {limits.error_rate:g}"
    failures = f"{answers(WINDOW, BY, *ours, failed=True)} * {WINDOW_S} >= {MIN_ERRORS}"
    enough = f"{answers(WINDOW, BY, *ours)} * {WINDOW_S} >= {limits.min_requests}"
    return f"{share} and {failures} and {enough}"


def _burning(spec: ModelSpec, ours: tuple[str, ...], times: float, long: str, short: str) -> str:
    """Return when late requests use up the objective too fast: over a long window, and still over a short one."""
    worst_share = 1 - times * (1 - OBJECTIVE)
    both = " and ".join(f"{selector(IN_TIME + window, *ours)} < {worst_share:.6g}" for window in (long, short))
    counted = rate_of(engine(f"{FIRST_OUTPUT}_count", *ours), WINDOW, BY)
    return f"{both} and {counted} * {WINDOW_S} >= {limits_of(spec, None).min_requests}"


def rules_of(alerts: list[Alert], runbooks: str) -> list[dict[str, Any]]:
    """Return the alerts as Prometheus reads them."""
    return [dict(alert.rule(runbooks)) for alert in alerts]
