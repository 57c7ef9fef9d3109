"""platform/*: what every model shares. Not partitioned; materializing again changes nothing."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.tables import shown
from genai_pipeline.core.checks import PLATFORM_CHECKS
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, judge, passed
from genai_pipeline.resources.platform import Platform

GROUP = "platform"


def platform_assets(files: ModelFiles) -> list[dg.AssetsDefinition]:
    specs = files.specs
    return [_model_files(files), _node_pools(specs), _observability(specs), _chat_ui(specs)]


def _check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(name, asset=[GROUP, asset], description=question, blocking=asset != "model_files")
        for name, question in PLATFORM_CHECKS[asset].items()
    ]


def _result(asset: str, verdicts: Sequence[Verdict], **metadata: Any) -> dg.MaterializeResult:
    checks = [
        dg.AssetCheckResult(
            asset_key=[GROUP, asset],
            check_name=v.check,
            passed=v.passed,
            description=v.summary,
            metadata={"outcome": str(v.outcome), **shown(v.evidence)},
        )
        for v in verdicts
    ]
    return dg.MaterializeResult(metadata=metadata, check_results=checks)


def _model_files(files: ModelFiles) -> dg.AssetsDefinition:
    problems = [line for error in files.errors for line in error.problems]

    @dg.asset(
        key=[GROUP, "model_files"],
        group_name=GROUP,
        check_specs=_check_specs("model_files"),
        metadata={"models": len(files.specs), "problems": dg.MetadataValue.md("\n".join(problems) or "none")},
        description="models/*.yaml as this code location read them. " + " · ".join(problems),
    )
    def model_files() -> dg.MaterializeResult:
        summary = "\n".join(problems) or f"{len(files.specs)} model files are right."
        return _result("model_files", [judge("valid", not problems, summary)])

    return model_files


def _node_pools(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    @dg.asset(
        key=[GROUP, "node_pools"],
        group_name=GROUP,
        kinds={"karpenter"},
        check_specs=_check_specs("node_pools"),
        description="The system, general and GPU pools, as EKS Auto Mode runs them.",
    )
    def node_pools(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        from genai_pipeline.core.release import Release
        from genai_pipeline.k8s.render import render_agent, render_engine, render_namespace, render_node_pools
        from genai_pipeline.rollout.node_pools import judge_accepted, judge_gpu_fence, judge_selectors

        profile, cluster = platform.profile, platform.gateways.cluster
        pools = render_node_pools(profile, specs)
        with explained():
            applied = cluster.apply([*render_namespace(profile), *pools])
            left = cluster.diff(pools)
        pods = [
            o
            for spec in specs
            for release in [Release.of(spec, "0" * 40)]
            for o in (*render_engine(spec, release, profile), *render_agent(release, profile, "http://engine"))
            if o["kind"] == "Deployment"
        ]
        verdicts = [judge_accepted(applied, left), judge_gpu_fence(pools), judge_selectors(pools, pods)]
        return _result("node_pools", verdicts, pools=len(pools))

    return node_pools


def _observability(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    @dg.asset(
        key=[GROUP, "observability"],
        group_name=GROUP,
        kinds={"prometheus"},
        check_specs=_check_specs("observability"),
        description="Where the engines' metrics are read: a Prometheus, or each engine's own /metrics.",
    )
    def observability(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        source = platform.profile.prometheus_url or "each engine's own /metrics"
        return _result("observability", [_metrics_readable(platform, specs, source)], source=source)

    return observability


def _metrics_readable(platform: Platform, specs: Sequence[ModelSpec], source: str) -> Verdict:
    urls = {s.name: platform.traffic.url(s.name) for s in specs}
    running = {name: url for name, url in urls.items() if url and platform.traffic.on(name)}
    if not running:
        return passed("metrics_readable", f"Metrics come from {source}; no model is live yet to read them of.")
    try:
        rows = [
            {"model": name, "running": platform.gateways.metrics.read(url).running} for name, url in running.items()
        ]
    except GenaiError as error:
        return inconclusive("metrics_readable", str(error))
    return passed("metrics_readable", f"Read the metrics of {len(rows)} live models from {source}.", models=rows)


def _chat_ui(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    @dg.asset(
        key=[GROUP, "chat_ui"],
        deps=[[s.name, "live"] for s in specs],
        group_name=GROUP,
        kinds={"kubernetes"},
        check_specs=_check_specs("chat_ui"),
        description="A page to talk to the live models from a browser.",
    )
    def chat_ui(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        from genai_pipeline.k8s.render import render_chat_ui

        urls = {s.name: url for s in specs if (url := platform.traffic.url(s.name))}
        cluster = platform.gateways.cluster
        with explained():
            cluster.apply(render_chat_ui(platform.profile, urls))
            cluster.wait_ready("chat-ui", 60)
            page = cluster.endpoint("chat-ui")
        return _result("chat_ui", [_chat_answers(platform, page, list(urls))], page=dg.MetadataValue.url(page))

    return chat_ui


def _chat_answers(platform: Platform, page: str, models: Sequence[str]) -> Verdict:
    rows: list[dict[str, str]] = []
    try:
        for name in models:
            answer = platform.gateways.inference(f"{page}/{name}").chat(name, [{"role": "user", "content": "Hello"}])
            rows.append({"model": name, "answer": answer.text.strip()})
    except GenaiError as error:
        return inconclusive("chat_answers", str(error))
    return judge(
        "chat_answers", all(r["answer"] for r in rows), f"{len(rows)} live models answer through the page.", models=rows
    )
