"""platform/chat_ui: a front end to talk to the live models from a browser. It is a small page, or Open WebUI."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.chat_settings import FrontEnd
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines

READY_S: Mapping[FrontEnd, float] = {"page": 60, "open-webui": 900}
"""Open WebUI needs 40 to 100 s on two cores, beside an installation or the pull of its image."""


def chat_ui_of(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    """Return the asset. It comes after `m/live` of each of these models, and has a check if one of them writes text."""
    is_asked = any(spec.task.generates for spec in specs)

    @dg.asset(
        key=[GROUP, "chat_ui"],
        deps=[[spec.name, "live"] for spec in specs],
        group_name=GROUP,
        kinds={"kubernetes"},
        check_specs=check_specs("chat_ui") if is_asked else [],
    )
    def chat_ui(rollout: RolloutResource) -> Iterator[dg.MaterializeResult]:
        """A front end to talk to the live models from a browser."""
        from genai_pipeline.k8s.chat import CHAT_UI, render_chat_ui

        engines = rollout.engines()
        cluster, live = engines.gateways.cluster, [spec for spec in specs if engines.traffic().on(spec.name)]
        with explained():
            cluster.apply(render_chat_ui(engines.profile, live))
            cluster.wait_ready(CHAT_UI, READY_S[engines.profile.chat])
            page = cluster.endpoint(CHAT_UI)
        verdicts = [_chat_answers(engines, _asked(engines, page), live)] if is_asked else []
        yield from result("chat_ui", verdicts, page=dg.MetadataValue.url(cluster.address(CHAT_UI)))

    return chat_ui


@dataclass(frozen=True)
class _Asked:
    """Where each model is asked in the front end's place, and that place in words."""

    address: Callable[[str], str]
    words: str


def _asked(engines: Engines, page: str) -> _Asked:
    """Open WebUI lets no one in without an account, and the pipeline has none. So the models are asked where it asks.

    Its pod is ready once its page and its database answer.
    """
    if engines.profile.chat == "page":
        return _Asked(lambda model: f"{page}/{model}", "through the page")
    return _Asked(engines.gateways.cluster.endpoint, "where Open WebUI asks them, and it is ready")


def _chat_answers(engines: Engines, asked: _Asked, live: Sequence[ModelSpec]) -> Verdict:
    from genai_pipeline.rollout.switch.settling import wait_reachable

    rows: list[dict[str, str]] = []
    try:
        for spec in live:
            if spec.task.generates:
                inference = engines.gateways.inference(asked.address(spec.name))
                wait_reachable(inference.models)
                answer = inference.ask(spec.task, spec.name)
                rows.append({"model": spec.name, "answer": answer.said.strip()})
    except GenaiError as error:
        return inconclusive("chat_answers", str(error))
    if not rows:
        return inconclusive("chat_answers", "The page was not asked, because no live model writes text.")
    summary = f"{len(rows)} live models answer {asked.words}."
    return judge("chat_answers", all(r["answer"] for r in rows), summary, models=rows)
