"""platform/observability: where the engines' metrics are read, and whether one can rely on what is shown of them."""

from collections.abc import Iterator, Sequence

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.errors import GenaiError, UnknownKind, Unreadable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Verdict, inconclusive, passed
from genai_pipeline.resources.configured import ModelsResource, RolloutResource
from genai_pipeline.resources.engines import Engines


@dg.asset(
    key=[GROUP, "observability"], group_name=GROUP, kinds={"prometheus"}, check_specs=check_specs("observability")
)
def observability(models: ModelsResource, rollout: RolloutResource) -> Iterator[dg.MaterializeResult]:
    """The source of the engines' metrics: a Prometheus, or each engine's own /metrics."""
    engines = rollout.engines()
    source = engines.profile.prometheus_url or "each engine's own /metrics"
    with explained():
        scraped = _apply_monitors(engines)
    live = [(spec, record) for spec in models.files().specs if (record := _live_engine(engines, spec.name))]
    verdicts = [_metrics_readable(engines, live, source), *_verified(engines, live)]
    yield from result("observability", verdicts, source=source, scraped=scraped)


def _apply_monitors(engines: Engines) -> str:
    """Apply the PodMonitors where there is a Prometheus. Return what was applied."""
    from genai_pipeline.k8s.render import render_monitoring

    if engines.profile.prometheus_url is None:
        return "nothing: there is no Prometheus"
    if engines.profile.name == "local":
        return "what the PodMonitors would choose: the exporter tells Prometheus of these pods"
    try:
        applied = engines.gateways.cluster.apply(render_monitoring(engines.profile))
    except UnknownKind as error:
        return f"nothing: {error}"
    return ", ".join(f"{a.kind} {a.name}" for a in applied)


def _live_engine(engines: Engines, model: str) -> Record | None:
    """The record of what is behind the stable address: one that made room for a candidate has no metrics."""
    release = engines.traffic().on(model)
    record = engines.records().get(model, release) if release else None
    return record if record and engines.candidates().is_up(record.as_release) else None


def _metrics_readable(engines: Engines, live: Sequence[tuple[ModelSpec, Record]], source: str) -> Verdict:
    if not live:
        return passed("metrics_readable", f"Metrics come from {source}; no model is live yet to read them of.")
    metrics, cluster = engines.gateways.metrics, engines.gateways.cluster
    # Prometheus knows the series by the release's own Service: the stable one leads to another release tomorrow.
    services = {spec.name: record.as_release.object_name for spec, record in live}
    try:
        rows = [{"model": m, "running": metrics.read(cluster.endpoint(s)).running} for m, s in services.items()]
    except GenaiError as error:
        return inconclusive("metrics_readable", str(error))
    return passed("metrics_readable", f"Read the metrics of {len(rows)} live models from {source}.", models=rows)


def _verified(engines: Engines, live: Sequence[tuple[ModelSpec, Record]]) -> list[Verdict]:
    """Ask the Prometheus whether people can rely on what it shows of the live models."""
    from genai_pipeline.observability.metrics_verified import CHECKS_BY_NAME, LiveEngine, verify

    namespace = engines.profile.namespace
    try:
        served = [LiveEngine(spec.as_released(r.model_spec), r.release, namespace) for spec, r in live]
    except Unreadable as error:
        return [inconclusive(check, str(error)) for check in CHECKS_BY_NAME]
    return verify(engines.gateways.metrics, served)
