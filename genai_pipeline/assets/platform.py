"""platform/*: what every model shares. Not partitioned; materializing again changes nothing."""

from collections.abc import Sequence

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.node_pools import node_pools_asset
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.errors import GenaiError, UnknownKind
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, judge, passed
from genai_pipeline.k8s.templating import RELEASE_LABEL
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


def platform_assets(files: ModelFiles) -> list[dg.AssetsDefinition]:
    specs = files.specs
    return [_model_files(files), node_pools_asset(specs), _observability(specs), _chat_ui(specs)]


def _model_files(files: ModelFiles) -> dg.AssetsDefinition:
    problems = [line for error in files.errors for line in error.problems]

    @dg.asset(
        key=[GROUP, "model_files"],
        group_name=GROUP,
        check_specs=check_specs("model_files"),
        metadata={"models": len(files.specs), "problems": dg.MetadataValue.md("\n".join(problems) or "none")},
        description="models/*.yaml as this code location read them. " + " · ".join(problems),
    )
    def model_files() -> dg.MaterializeResult:
        summary = "\n".join(problems) or f"{len(files.specs)} model files are right."
        return result("model_files", [judge("valid", not problems, summary)])

    return model_files


def _observability(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    @dg.asset(
        key=[GROUP, "observability"],
        group_name=GROUP,
        kinds={"prometheus"},
        check_specs=check_specs("observability"),
        description="Where the engines' metrics are read: a Prometheus, or each engine's own /metrics.",
    )
    def observability(rollout: RolloutResource) -> dg.MaterializeResult:
        engines = rollout.engines()
        source = engines.profile.prometheus_url or "each engine's own /metrics"
        with explained():
            scraped = _have_scraped(engines)
        return result("observability", [_metrics_readable(engines, specs, source)], source=source, scraped=scraped)

    return observability


def _have_scraped(engines: Engines) -> str:
    """Apply the PodMonitors where there is a Prometheus. Return what was applied."""
    from genai_pipeline.k8s.render import render_monitoring

    if engines.profile.prometheus_url is None:
        return "nothing: there is no Prometheus"
    try:
        applied = engines.gateways.cluster.apply(render_monitoring(engines.profile))
    except UnknownKind as error:
        return f"nothing: {error}"
    return ", ".join(f"{a.kind} {a.name}" for a in applied)


def _live_engine(engines: Engines, model: str) -> str | None:
    """The engine behind the stable address: one that made room for a candidate has no metrics."""
    release = engines.traffic().on(model)
    labels = {"app.kubernetes.io/name": model, RELEASE_LABEL: release or "", "app.kubernetes.io/component": "engine"}
    found = engines.gateways.cluster.list("Deployment", labels) if release else []
    return next((e["metadata"]["name"] for e in found if (e.get("status") or {}).get("availableReplicas")), None)


def _metrics_readable(engines: Engines, specs: Sequence[ModelSpec], source: str) -> Verdict:
    running = {s.name: engine for s in specs if (engine := _live_engine(engines, s.name))}
    if not running:
        return passed("metrics_readable", f"Metrics come from {source}; no model is live yet to read them of.")
    metrics, cluster = engines.gateways.metrics, engines.gateways.cluster
    try:
        # Prometheus knows the series by the release's own Service: the stable one leads to another release tomorrow.
        rows = [{"model": m, "running": metrics.read(cluster.endpoint(e)).running} for m, e in running.items()]
    except GenaiError as error:
        return inconclusive("metrics_readable", str(error))
    return passed("metrics_readable", f"Read the metrics of {len(rows)} live models from {source}.", models=rows)


def _chat_ui(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    @dg.asset(
        key=[GROUP, "chat_ui"],
        deps=[[s.name, "live"] for s in specs],
        group_name=GROUP,
        kinds={"kubernetes"},
        check_specs=check_specs("chat_ui"),
        description="A page to talk to the live models from a browser.",
    )
    def chat_ui(rollout: RolloutResource) -> dg.MaterializeResult:
        from genai_pipeline.k8s.render import render_chat_ui, service_url

        engines = rollout.engines()
        cluster = engines.gateways.cluster
        urls = {s.name: service_url(s.name, "engine", engines.profile) for s in specs if engines.traffic().on(s.name)}
        with explained():
            cluster.apply(render_chat_ui(engines.profile, urls))
            cluster.wait_ready("chat-ui", 60)
            page = cluster.endpoint("chat-ui")
        return result("chat_ui", [_chat_answers(engines, page, list(urls))], page=dg.MetadataValue.url(page))

    return chat_ui


def _chat_answers(engines: Engines, page: str, models: Sequence[str]) -> Verdict:
    from genai_pipeline.rollout.switch.settling import wait_reachable

    rows: list[dict[str, str]] = []
    try:
        for name in models:
            wait_reachable(engines.gateways.inference(f"{page}/{name}").models)
            answer = engines.gateways.inference(f"{page}/{name}").chat(name, [{"role": "user", "content": "Hello"}])
            rows.append({"model": name, "answer": answer.text.strip()})
    except GenaiError as error:
        return inconclusive("chat_answers", str(error))
    return judge(
        "chat_answers", all(r["answer"] for r in rows), f"{len(rows)} live models answer through the page.", models=rows
    )
