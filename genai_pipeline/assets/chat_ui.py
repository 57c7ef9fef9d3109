"""platform/chat_ui: a page to talk to the live models from a browser."""

from collections.abc import Sequence

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


def chat_ui_of(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    """Return the asset. It comes after `m/live` of each of these models."""

    @dg.asset(
        key=[GROUP, "chat_ui"],
        deps=[[spec.name, "live"] for spec in specs],
        group_name=GROUP,
        kinds={"kubernetes"},
        check_specs=check_specs("chat_ui"),
    )
    def chat_ui(rollout: RolloutResource) -> dg.MaterializeResult:
        """A page to talk to the live models from a browser."""
        from genai_pipeline.k8s.render import render_chat_ui, service_url

        engines = rollout.engines()
        cluster, live = engines.gateways.cluster, [s.name for s in specs if engines.traffic().on(s.name)]
        urls = {name: service_url(name, "engine", engines.profile) for name in live}
        with explained():
            cluster.apply(render_chat_ui(engines.profile, urls))
            cluster.wait_ready("chat-ui", 60)
            page = cluster.endpoint("chat-ui")
        return result("chat_ui", [_chat_answers(engines, page, live)], page=dg.MetadataValue.url(page))

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
