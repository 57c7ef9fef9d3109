"""platform/chat_ui: a page to talk to the live models from a browser."""

from collections.abc import Iterator, Sequence

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


def chat_ui_of(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    """Return the asset. It comes after `m/live` of each of these models, and has a check if one of them writes text."""
    asked = any(spec.task.generates for spec in specs)

    @dg.asset(
        key=[GROUP, "chat_ui"],
        deps=[[spec.name, "live"] for spec in specs],
        group_name=GROUP,
        kinds={"kubernetes"},
        check_specs=check_specs("chat_ui") if asked else [],
    )
    def chat_ui(rollout: RolloutResource) -> Iterator[dg.MaterializeResult]:
        """A page to talk to the live models from a browser."""
        from genai_pipeline.k8s.render import render_chat_ui

        engines = rollout.engines()
        cluster, live = engines.gateways.cluster, [spec for spec in specs if engines.traffic().on(spec.name)]
        with explained():
            cluster.apply(render_chat_ui(engines.profile, live))
            cluster.wait_ready("chat-ui", 60)
            page = cluster.endpoint("chat-ui")
        verdicts = [_chat_answers(engines, page, live)] if asked else []
        yield from result("chat_ui", verdicts, page=dg.MetadataValue.url(page))

    return chat_ui


def _chat_answers(engines: Engines, page: str, live: Sequence[ModelSpec]) -> Verdict:
    from genai_pipeline.rollout.switch.settling import wait_reachable

    rows: list[dict[str, str]] = []
    try:
        for spec in live:
            if spec.task.generates:
                inference = engines.gateways.inference(f"{page}/{spec.name}")
                wait_reachable(inference.models)
                answer = inference.ask(spec.task, spec.name)
                rows.append({"model": spec.name, "answer": answer.said.strip()})
    except GenaiError as error:
        return inconclusive("chat_answers", str(error))
    if not rows:
        return inconclusive("chat_answers", "The page was not asked, because no live model writes text.")
    return judge(
        "chat_answers", all(r["answer"] for r in rows), f"{len(rows)} live models answer through the page.", models=rows
    )
