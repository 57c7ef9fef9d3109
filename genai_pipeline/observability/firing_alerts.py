"""Which alerts fire on a live release, as the Prometheus says that evaluates the rules.

A Prometheus writes firing alerts as the series `ALERTS`. Remote write takes it along, and Amazon Managed Prometheus
writes its own. The gates are series of the same group of rules as a model's alerts. Without them the rules are not
evaluated, and silence means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.observability.recordings import GATE
from genai_pipeline.observability.series import equals, selector

CHECK = "alerts_quiet"
WITH_OWN_NAMES = 'alertname=~"Genai.+"'
FIRING = 'alertstate="firing"'
NOT_EVALUATED = (
    "The rules of {model} are not evaluated at that Prometheus. Apply `genai render --observability`; see "
    "docs/observability.md. On one machine `genai up` loads them, and they take effect within half a minute."
)


def judge_alerts(metrics: Metrics, model: str, release: str, namespace: str, runbooks: str) -> Verdict:
    """Return failed while an alert about this release fires, and inconclusive where no rules are evaluated.

    Args:
        release: id of the live release.
        runbooks: address of docs/operations.md.
    """
    ours = (equals("namespace", namespace), equals("model", model))
    try:
        if not metrics.query(selector(GATE, *ours)):
            return inconclusive(CHECK, NOT_EVALUATED.format(model=model))
        firing = metrics.query(selector("ALERTS", FIRING, WITH_OWN_NAMES))
    except GenaiError as error:
        return inconclusive(CHECK, str(error))
    rows = [_row(labels, runbooks) for _, labels, _ in firing if _is_about(labels, model, release, namespace)]
    if not rows:
        return passed(CHECK, f"No alert fires on {release}.")
    names = ", ".join(sorted({f"{row['alert']} ({row['severity']})" for row in rows}))
    return failed(CHECK, f"Firing on {release}: {names}.", alerts=sorted(rows, key=lambda row: row["alert"]))


def _is_about(labels: Mapping[str, str], model: str, release: str, namespace: str) -> bool:
    """An alert of the model names its release; one about a GPU names the pod that works on it."""
    if labels.get("model"):
        mine = labels["model"] == model and labels.get("release", release) == release
        return mine and labels.get("namespace") == namespace
    pod = labels.get("exported_pod") or labels.get("pod") or ""
    return pod.startswith(f"{model}-{release}-")


def _row(labels: Mapping[str, str], runbooks: str) -> dict[str, Any]:
    name = labels["alertname"]
    return {
        "alert": name,
        "severity": labels.get("severity", ""),
        "pod": labels.get("exported_pod") or labels.get("pod") or "",
        "what to do": f"{runbooks}#{name.lower()}",
    }
