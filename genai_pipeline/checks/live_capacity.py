"""The checks on m/capacity that a schedule asks of the live release: its reservation, and room for the next one."""

from collections.abc import Iterator, Sequence

import dagster as dg

from genai_pipeline.assets.check_results import check_result
from genai_pipeline.checks.upkeep_specs import upkeep_specs
from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


def capacity_checks(specs: Sequence[ModelSpec]) -> dg.AssetChecksDefinition:
    """One step for every model. Failing holds nothing back: the next rollout judges its capacity itself."""

    @dg.multi_asset_check(
        specs=upkeep_specs(specs, "capacity"),
        name="check_live_capacity",
        description="Asks EC2 and the cluster whether the live releases' capacity lasts, and a next release fits.",
    )
    def live_capacity(rollout: RolloutResource) -> Iterator[dg.AssetCheckResult]:
        for spec in specs:
            yield from _of(rollout.engines(), spec)

    return live_capacity


def _of(engines: Engines, spec: ModelSpec) -> Iterator[dg.AssetCheckResult]:
    from genai_pipeline.rollout.upkeep.capacity_outlook import judge_live_capacity, not_judged

    release = "none"
    try:
        live = engines.records().live(spec.name)
        release = live.release if live else release
        record = engines.records().require(spec.name, live.release) if live else None
        verdicts = judge_live_capacity(engines.gateways, engines.profile, spec, record)
        for verdict in verdicts:
            if verdict.outcome is Outcome.FAILED and verdict.check == "reservation_lasts":
                engines.notices().write(Notice(NoticeKind.NO_CAPACITY, spec.name, release, verdict.summary, utc_now()))
    except GenaiError as error:
        verdicts = not_judged(error)
    for verdict in verdicts:
        yield check_result((spec.name, "capacity"), verdict, release=release)
