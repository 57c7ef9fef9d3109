"""What every asset of a model has in common: find the release, do the work, report and record it.

The record is written before Dagster hears of anything, because the interlock believes the record alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.freshness import freshness_of
from genai_pipeline.assets.tables import shown
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import GenaiError, Refused, ReleaseRefused, StagingError, Superseded
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import NO_FACTS, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome, Verdict
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines

CANDIDATES_POOL = "rollouts"
"""Of what takes room in the cluster: as many at once as GENAI_MAX_ROLLOUTS says."""


@dataclass(frozen=True)
class Findings:
    """What the work of one asset gave: verdicts, metadata for people, facts for later assets."""

    verdicts: Sequence[Verdict] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    facts: Facts = NO_FACTS


@dataclass(frozen=True)
class InHand:
    """The release that a run is about. `spec` is the model file of today with the release's own serving section.

    `say` takes a line of the run's log, and raises Superseded once another release is asked for; `observe` takes
    metadata that the UI shows of the asset while the step goes on.
    """

    spec: ModelSpec
    release: Release
    record: Record
    engines: Engines
    say: Callable[[str], None]
    observe: Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class ReleaseAsset:
    """One asset of the graph that every model has.

    Args:
        deps: names of assets of the same model, or ``platform/<name>``.
        work: does it for the release in hand; raises GenaiError.
        moves_traffic: a newer release never interrupts it.
    """

    name: str
    deps: tuple[str, ...]
    kinds: frozenset[str]
    description: str
    work: Callable[[InHand], Findings]
    moves_traffic: bool = False

    def build(self, spec: ModelSpec, releases: dg.PartitionsDefinition) -> dg.AssetsDefinition:
        """The Dagster asset `m/<name>` with its checks, all blocking: what is not proven stops what follows."""
        checks = [
            dg.AssetCheckSpec(name, asset=[spec.name, self.name], description=question, blocking=True)
            for name, question in CHECKS[self.name].items()
        ]

        @dg.asset(
            key=[spec.name, self.name],
            deps=[d.split("/") if "/" in d else [spec.name, d] for d in self.deps],
            partitions_def=releases,
            group_name=spec.group,
            kinds=set(self.kinds),
            check_specs=checks,
            description=self.description,
            freshness_policy=freshness_of(spec, self.name),
            pool=CANDIDATES_POOL if self.name == "capacity" else pool_of(spec),
        )
        def release_asset(context: dg.AssetExecutionContext, rollout: RolloutResource) -> Any:
            with explained():
                yield from _report(context, rollout.engines(), spec, self)

        return release_asset


def pool_of(spec: ModelSpec) -> str:
    """One run of a model at a time has its assets in hand."""
    return f"model_{spec.group}"


def _report(
    context: dg.AssetExecutionContext, engines: Engines, spec: ModelSpec, asset: ReleaseAsset
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Do the asset's work for the partition's release; yield its checks and a materialization."""
    hand = _in_hand(engines, spec, asset, context)
    findings, error = carry_out(asset, hand)
    results = [_check_result(spec.name, asset.name, hand.release, verdict) for verdict in findings.verdicts]
    if error:
        yield from results
        raise error
    metadata = {"release": hand.release.id, "revision": hand.release.revision, **findings.metadata}
    yield dg.MaterializeResult(metadata=metadata, check_results=results)


def carry_out(asset: ReleaseAsset, hand: InHand) -> tuple[Findings, GenaiError | None]:
    """Do the asset's work and write down what it found.

    A GenaiError becomes a verdict on every check of the asset: failed where the answer was no, inconclusive where
    nothing could be measured. It is returned, for the step to end with. Raises: Superseded, ReleaseRefused: nothing
    was found.
    """
    started, error = time.monotonic(), None
    if not asset.moves_traffic:  # which refuses it by itself, and says so in its checks
        hand.engines.overtaking().refuse_ended(hand.record)
    try:
        hand.engines.overtaking().refuse_overtaken(hand.record)
        findings = asset.work(hand)
    except Superseded:
        hand.engines.overtaking().give_way(hand.record)
        raise
    except GenaiError as caught:
        error, findings = caught, Findings(_verdicts_for(asset.name, caught))
    seconds = time.monotonic() - started
    if not isinstance(error, ReleaseRefused):  # a refusal finds nothing out about the release, and changes nothing
        _write_down(hand, asset.name, findings, seconds)
    return replace(findings, metadata={**findings.metadata, "seconds": seconds}), error


def _in_hand(engines: Engines, spec: ModelSpec, asset: ReleaseAsset, context: dg.AssetExecutionContext) -> InHand:
    partition = context.partition_key
    record = engines.records().require(spec.name, partition)

    def observe(metadata: Mapping[str, Any]) -> None:
        context.log_event(dg.AssetObservation([spec.name, asset.name], partition=partition, metadata=dict(metadata)))

    say = context.log.info if asset.moves_traffic else engines.overtaking().watched(record, context.log.info)
    as_released = spec.model_copy(update={"serving": record.model_spec.serving})
    return InHand(as_released, Release.of(as_released, record.revision), record, engines, say, observe)


def _verdicts_for(asset: str, error: GenaiError) -> list[Verdict]:
    outcome = Outcome.FAILED if isinstance(error, Refused | StagingError) else Outcome.INCONCLUSIVE
    return [Verdict(check, outcome, str(error), {"error": type(error).__name__}) for check in CHECKS[asset]]


def _write_down(hand: InHand, asset: str, findings: Findings, seconds: float) -> None:
    """Into the record; a failed verdict also ends the release and removes its candidate."""
    records, release = hand.engines.records(), hand.release
    not_passed = [v for v in findings.verdicts if not v.passed]
    event = f"{asset}: " + ("passed" if not not_passed else "; ".join(f"{v.check} {v.outcome}" for v in not_passed))
    records.update(
        release.model, release.id, lambda r: r.with_verdicts(asset, findings.verdicts, seconds, findings.facts), event
    )
    failures = [f"{asset}.{v.check}: {v.summary}" for v in findings.verdicts if v.outcome is Outcome.FAILED]
    if failures:
        hand.engines.ending().reject(release, " · ".join(dict.fromkeys(failures)))


def _check_result(model: str, asset: str, release: Release, verdict: Verdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=[model, asset],
        check_name=verdict.check,
        passed=verdict.passed,
        description=verdict.summary,
        # A check's stored evaluation knows no partition, so the release stands in its evidence.
        metadata={"release": release.id, "outcome": str(verdict.outcome), **shown(verdict.evidence)},
    )
