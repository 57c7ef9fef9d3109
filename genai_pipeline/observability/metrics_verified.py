"""Whether metrics are verified: each live engine is scraped, samples arrive, rules work, panels have data.

All of it is asked of the Prometheus that the pipeline reads, which may be Amazon Managed Prometheus. So the whole way
of a sample is measured, from the engine to where people look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.observability.dashboard_files import boards_of, filled, panel_queries
from genai_pipeline.observability.nvml_series import JOB
from genai_pipeline.observability.recordings import GATE
from genai_pipeline.observability.series import PODS_OF_ENGINES, equals, selector

SCRAPED_EVERY_S = 15
"""The interval of the PodMonitors."""
LATEST_S = 2 * SCRAPED_EVERY_S
GPU_SERIES = "DCGM_FI_DEV_GPU_UTIL"
BY_NVML = f'group(up{{job=~".+/{JOB}"}})'
NOT_ASKED_OF_NVML = ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_DRAM_ACTIVE")
_BEHIND = (
    "max by (instance) (prometheus_remote_storage_highest_timestamp_in_seconds) - on (instance) group_right () "
    "max by (instance, url) (prometheus_remote_storage_queue_highest_sent_timestamp_seconds)"
)
"""Seconds by which a remote write is behind what was scraped. Without remote write there is none."""
NOTHING_SENT_S = 1e9
"""A remote write that has sent nothing yet says the time 0, so it is behind by the seconds since 1970."""


@dataclass(frozen=True)
class LiveEngine:
    """A live release, as the labels of its series name it."""

    spec: ModelSpec
    release: str
    namespace: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Matchers of its series."""
        of_model = (equals("namespace", self.namespace), equals("model", self.spec.name))
        return (*of_model, equals("release", self.release))

    @property
    def scraped(self) -> str:
        """The series that say whether its pods were scraped."""
        return selector("up", *self.labels, PODS_OF_ENGINES)


def verify(metrics: Metrics, live: Sequence[LiveEngine]) -> list[Verdict]:
    """Return a verdict for each check. Without a Prometheus all are inconclusive."""
    return [_asked(check, metrics, live) for check in CHECKS_BY_NAME]


def _asked(check: str, metrics: Metrics, live: Sequence[LiveEngine]) -> Verdict:
    if not live:
        return passed(check, "No model is live yet, so nothing is scraped.")
    try:
        return CHECKS_BY_NAME[check](metrics, live)
    except GenaiError as error:
        return inconclusive(check, str(error))


def _engines_scraped(metrics: Metrics, live: Sequence[LiveEngine]) -> Verdict:
    rows: list[dict[str, Any]] = []
    for engine in live:
        pods = [value for _, _, value in metrics.query(engine.scraped)]
        rows.append({"model": engine.spec.name, "release": engine.release, "pods": len(pods), "answer": int(sum(pods))})
    bad = [row["model"] for row in rows if not row["pods"] or row["answer"] < row["pods"]]
    said = f"not scraped: {', '.join(bad)}." if bad else f"Prometheus scrapes the engines of {len(rows)} live models."
    return judge("engines_scraped", not bad, said, engines=rows)


def _samples_arrive(metrics: Metrics, live: Sequence[LiveEngine]) -> Verdict:
    """Measure the age of the newest sample where it is read, and what is waiting to be written on from there."""
    rows: list[dict[str, Any]] = []
    for engine in live:
        found = metrics.query(f"time() - max(timestamp({engine.scraped}))")
        rows += [{"what": engine.spec.name, "age_s": round(value, 1)} for _, _, value in found]
    if not rows:
        return failed("samples_arrive", "There is no sample of any live engine.")
    behind = metrics.query(_BEHIND)
    rows += [{"what": f"remote write to {labels.get('url', '?')}", "age_s": round(v, 1)} for _, labels, v in behind]
    late = [row["what"] + _never(row["age_s"]) for row in rows if row["age_s"] > LATEST_S]
    said = f"later than {LATEST_S} s: {', '.join(late)}." if late else f"Samples arrive within {LATEST_S} s."
    return judge("samples_arrive", not late, said, samples=rows)


def _never(age_s: float) -> str:
    return " (nothing was sent yet)" if age_s > NOTHING_SENT_S else ""


def _rules_evaluated(metrics: Metrics, live: Sequence[LiveEngine]) -> Verdict:
    """The gates are series of the same group as a model's alerts. A broken rule keeps none of the others back."""
    names = {engine.spec.name: engine.labels[:2] for engine in live}
    without = [name for name, labels in names.items() if not metrics.query(selector(GATE, *labels))]
    errors = metrics.query("sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total[10m])) > 0")
    groups = [labels.get("rule_group", "?").partition(";")[2] for _, labels, _ in errors]
    broken = sorted(group for group in groups if group.startswith("genai-"))
    said = [f"no rules: {', '.join(without)}."] if without else []
    said += [f"a rule fails in {', '.join(broken)}."] if broken else []
    remedy = "Apply `genai render --observability`; on one machine run `genai up`."
    words = " ".join([*said, remedy]) if said else f"The rules of {len(names)} live models are evaluated."
    return judge("rules_evaluated", not said, words)


def _panels_have_data(metrics: Metrics, live: Sequence[LiveEngine]) -> Verdict:
    empty: list[dict[str, str]] = []
    asked, unknown = 0, NOT_ASKED_OF_NVML if metrics.query(BY_NVML) else ()
    for engine in live:
        for file in boards_of(engine.spec):
            for panel, expr in panel_queries(file):
                if any(name in expr for name in unknown):
                    continue
                asked += 1
                if not metrics.query(filled(expr, engine.namespace, engine.spec.name, engine.release)):
                    empty.append({"model": engine.spec.name, "dashboard": file.stem, "panel": panel})
    said = f"{len(empty)} of {asked} queries of panels have no data." if empty else f"All {asked} queries have data."
    return judge("panels_have_data", not empty, said, empty=empty)


def _gpu_series_named(metrics: Metrics, live: Sequence[LiveEngine]) -> Verdict:
    of_gpus = [engine for engine in live if engine.spec.serving.gpu]
    if not of_gpus:
        return passed("gpu_series_named", "No live model has a GPU.")
    everything = metrics.query(GPU_SERIES)
    if not everything:
        return failed("gpu_series_named", f"There is no {GPU_SERIES}. Does Prometheus scrape an exporter of GPUs?")
    without = [e.spec.name for e in of_gpus if not any(_works_for(labels, e) for _, labels, _ in everything)]
    said = f"no GPU names a pod of {', '.join(without)}. dcgm-exporter needs DCGM_EXPORTER_KUBERNETES=true."
    return judge("gpu_series_named", not without, said if without else "GPUs name the pods that work on them.")


def _works_for(labels: Mapping[str, str], engine: LiveEngine) -> bool:
    """Return whether a GPU names a pod of the release. Prometheus may have renamed the exporter's own labels."""
    pod, namespace = (labels.get(f"exported_{name}") or labels.get(name) or "" for name in ("pod", "namespace"))
    return namespace == engine.namespace and pod.startswith(f"{engine.spec.name}-{engine.release}-")


CHECKS_BY_NAME: dict[str, Callable[[Metrics, Sequence[LiveEngine]], Verdict]] = {
    "engines_scraped": _engines_scraped,
    "samples_arrive": _samples_arrive,
    "rules_evaluated": _rules_evaluated,
    "panels_have_data": _panels_have_data,
    "gpu_series_named": _gpu_series_named,
}
