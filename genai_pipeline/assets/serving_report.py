"""m/serving_report: the candidate under load, judged against the model file's gates."""

import dagster as dg

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import Facts, ServingFigures


def _measure(hand: InHand) -> Findings:
    from genai_pipeline.loadtest.load_test import measure

    engines, release = hand.engines, hand.release
    # Left by an earlier attempt, it would ask questions of its own while we count.
    engines.candidates().stop_agent(release, unless_live=engines.traffic().on(release.model, "agent"))
    result = measure(
        engines.candidates().engine_url(release),
        release.model,
        hand.spec.gates.serving,
        engines.gateways.metrics,
        has_gpu=hand.spec.serving.gpu is not None,
        on_progress=hand.say,
    )
    metadata = {
        "plot": dg.MetadataValue.md(result.plot),
        "figures": table([{"figure": k, "value": v} for k, v in result.summary.items()]),
    }
    return Findings(result.verdicts, metadata, Facts(serving=ServingFigures.model_validate(result.summary)))


SERVING_REPORT = ReleaseAsset(
    name="serving_report",
    deps=("candidate",),
    kinds=frozenset({"prometheus"}),
    description="TTFT, tokens per second, errors, KV cache and queue under load, against the gates.",
    work=_measure,
)
