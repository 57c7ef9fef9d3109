"""The check on m/staged_model that a schedule asks: what is in use is read again, and compared with its manifest."""

import dagster as dg

from genai_pipeline.assets.check_results import check_result
from genai_pipeline.core.checks import UPKEEP_CHECKS
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.resources.configured import StoreResource

SHARE = 0.05
"""Of the bytes, each time: a month of nights reads most of a model once, at a twentieth of its size a night."""


def staged_bytes_check(spec: ModelSpec) -> dg.AssetChecksDefinition:
    """Not part of a rollout, which has just verified every byte, and so never between a release and its traffic."""
    ((name, question),) = UPKEEP_CHECKS["staged_model"].items()

    @dg.asset_check(asset=[spec.name, "staged_model"], name=name, description=question)
    def staged_bytes(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        from genai_pipeline.staging.spot_check import spot_check

        live = store.records().live(spec.name)
        releases = [release for release in (live.release, live.last_good) if release] if live else []
        verdict = spot_check(store.objects(), spec.name, releases, SHARE, context.log.info)
        return check_result((spec.name, "staged_model"), verdict, releases=", ".join(releases))

    return staged_bytes
