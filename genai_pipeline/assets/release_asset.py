"""What all assets of a model share: find the release, do the work, write the record, report to Dagster.

The record is written before Dagster gets the verdicts, because the interlock believes only the record.
"""

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from genai_pipeline.assets.check_results import check_result, end_if_unmeasured
from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.freshness import freshness_of
from genai_pipeline.core.errors import GenaiError, Refused, ReleaseRefused, StagingError, Superseded
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.purpose import checks_of
from genai_pipeline.core.record import NO_FACTS, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome, Verdict
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines

OpenSession = Callable[[Mapping[str, Any], dg.PipesMessageReader], AbstractContextManager[dg.PipesSession]]
"""Opens a session of Dagster Pipes of the running step, with the extras for the other process."""


@dataclass(frozen=True)
class AssetResult:
    """What the work of one asset gave.

    Args:
        verdicts: one for each check of the asset.
        metadata: what the UI shows with the materialization.
        facts: what later assets and other runs read in the record.
    """

    verdicts: Sequence[Verdict] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    facts: Facts = NO_FACTS


@dataclass(frozen=True)
class ReleaseContext:
    """The release that a run is about.

    Args:
        spec: the model file as it is now, with what makes the release as it was.
        checks: the checks of this asset that this release is asked, with their questions.
        log: writes a line to the run's log. Raises Superseded when a newer release is asked for.
        observe: reports metadata that the UI shows while the step still runs.
        open_session: opens a session of Dagster Pipes for a process elsewhere.
    """

    spec: ModelSpec
    release: Release
    record: Record
    checks: Mapping[str, str]
    log: Callable[[str], None]
    observe: Callable[[Mapping[str, Any]], None]
    open_session: OpenSession


Work = Callable[..., AssetResult]
"""Takes the ReleaseContext, then Dagster resources by their names. Raises GenaiError."""


@dataclass(frozen=True)
class ReleaseAsset:
    """One asset of the graph that every model has: `m/<name>`."""

    name: str
    work: Work
    deps: tuple[str, ...]
    kinds: frozenset[str]
    checks: Mapping[str, str]
    moves_traffic: bool = False

    @property
    def resources(self) -> list[str]:
        """Return the names of the resources that the work asks for."""
        return list(inspect.signature(self.work).parameters)[1:]

    def for_model(self, spec: ModelSpec, releases: dg.PartitionsDefinition) -> dg.AssetsDefinition:
        """Return the Dagster asset of one model, with the checks that apply to it.

        All of them block: what is not proven stops what follows.
        """
        asked = checks_of(spec)
        checks = [
            dg.AssetCheckSpec(check, asset=[spec.name, self.name], description=question, blocking=True)
            for check, question in self.checks.items()
            if check in asked[self.name]
        ]

        @dg.asset(
            key=[spec.name, self.name],
            deps=[d.split("/") if "/" in d else [spec.name, d] for d in self.deps if "/" in d or d in asked],
            partitions_def=releases,
            group_name=spec.group,
            kinds=set(self.kinds),
            check_specs=checks,
            description=inspect.getdoc(self.work),
            freshness_policy=freshness_of(spec, self.name),
            pool=pool_of(spec),
            required_resource_keys={"rollout", *self.resources},
        )
        def asset_of_model(context: dg.AssetExecutionContext) -> Any:
            with explained():
                yield from _report(context, spec, self)

        return asset_of_model


def release_asset(
    *, deps: Sequence[str] = (), kinds: set[str], checks: Mapping[str, str], moves_traffic: bool = False
) -> Callable[[Work], ReleaseAsset]:
    """Make a function an asset of each model that its checks apply to. Its name and docstring become the asset's.

    Args:
        deps: names of assets of the same model, or ``platform/<name>``. Those that the model does not have are dropped.
        checks: name of each check and the question that it answers. A model has those of them that apply to it.
        moves_traffic: a newer release never interrupts it.
    """
    return lambda work: ReleaseAsset(work.__name__, work, tuple(deps), frozenset(kinds), checks, moves_traffic)


def pool_of(spec: ModelSpec) -> str:
    """Return the pool that keeps two runs of one model apart. Its limit is `default_limit` in dagster.yaml: 1."""
    return f"model_{spec.group}"


def _report(
    context: dg.AssetExecutionContext, spec: ModelSpec, asset: ReleaseAsset
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
    """Do the asset's work for the partition's release; yield its checks and a materialization."""
    resources = {name: getattr(context.resources, name) for name in {"rollout", *asset.resources}}
    rollout: RolloutResource = resources["rollout"]
    engines = rollout.engines()
    about = _context_of(context, engines, spec, asset)
    result, error = carry_out(asset, about, engines, {name: resources[name] for name in asset.resources})
    # Dagster keeps no partition with a check's result, so its evidence names the release.
    key, release = (spec.name, asset.name), about.release.id
    checks = [check_result(key, verdict, release=release) for verdict in result.verdicts]
    if error:
        yield from checks
        raise error
    metadata = {"release": release, "revision": about.release.revision, **result.metadata}
    yield dg.MaterializeResult(metadata=metadata, check_results=checks)
    end_if_unmeasured(result.verdicts)


def carry_out(
    asset: ReleaseAsset, about: ReleaseContext, engines: Engines, resources: Mapping[str, Any]
) -> tuple[AssetResult, GenaiError | None]:
    """Do the asset's work and write its result into the record.

    A GenaiError becomes a verdict on every check of the asset: failed where the answer was no, inconclusive where
    nothing could be measured. It is returned, for the step to end with.

    Args:
        resources: what the asset's work asks for, by name.
    Raises: Superseded, ReleaseRefused: nothing was found out about the release.
    """
    started, error = time.monotonic(), None
    if not asset.moves_traffic:  # `live` refuses by itself, with the reason in its checks
        engines.overtaking().refuse_ended(about.record)
    try:
        engines.overtaking().refuse_overtaken(about.record)
        found = asset.work(about, **resources)
        # Engines judge all that they measure. What the model file does not ask for is no verdict of its release.
        result = replace(found, verdicts=[verdict for verdict in found.verdicts if verdict.check in about.checks])
    except Superseded:
        engines.overtaking().give_way(about.record)
        raise
    except GenaiError as caught:
        error, result = caught, AssetResult(_verdicts_for(about.checks, caught))
    seconds = time.monotonic() - started
    if not isinstance(error, ReleaseRefused):  # a refusal says nothing about the release, and changes nothing
        _write_down(engines, about, asset, result, seconds)
    return replace(result, metadata={**result.metadata, "seconds": seconds}), error


def _context_of(
    context: dg.AssetExecutionContext, engines: Engines, spec: ModelSpec, asset: ReleaseAsset
) -> ReleaseContext:
    partition = context.partition_key
    record = engines.records().require(spec.name, partition)

    def observe(metadata: Mapping[str, Any]) -> None:
        context.log_event(dg.AssetObservation([spec.name, asset.name], partition=partition, metadata=dict(metadata)))

    def open_session(
        extras: Mapping[str, Any], reader: dg.PipesMessageReader
    ) -> AbstractContextManager[dg.PipesSession]:
        return dg.open_pipes_session(context, dg.PipesEnvContextInjector(), reader, extras)

    log = context.log.info if asset.moves_traffic else engines.overtaking().watched(record, context.log.info)
    as_released = spec.as_released(record.model_spec)
    asked = checks_of(as_released).get(asset.name, {})
    if asked != checks_of(spec)[asset.name]:  # Dagster was promised the checks of the model file
        what = f"{spec.name}@{partition} was made from a model file with another task, agent or tool-call parser."
        raise ReleaseRefused(what, "Materialize a release of the model file as it is now.")
    release = Release.of(as_released, record.revision)
    return ReleaseContext(as_released, release, record, asked, log, observe, open_session)


def _verdicts_for(checks: Iterable[str], error: GenaiError) -> list[Verdict]:
    outcome = Outcome.FAILED if isinstance(error, Refused | StagingError) else Outcome.INCONCLUSIVE
    return [Verdict(check, outcome, str(error), {"error": type(error).__name__}) for check in checks]


def _write_down(
    engines: Engines, about: ReleaseContext, asset: ReleaseAsset, result: AssetResult, seconds: float
) -> None:
    """Write the result into the record. A failed verdict also ends the release and removes its candidate."""
    release, not_passed = about.release, [f"{v.check} {v.outcome}" for v in result.verdicts if not v.passed]
    event = f"{asset.name}: {'; '.join(not_passed) or 'passed'}"

    def written(record: Record) -> Record:
        judged = record if asset.moves_traffic else record.judged_by(about.spec.gates)
        return judged.with_verdicts(asset.name, result.verdicts, seconds, result.facts)

    engines.records().update(release.model, release.id, written, event)
    failures = [f"{asset.name}.{v.check}: {v.summary}" for v in result.verdicts if v.outcome is Outcome.FAILED]
    if failures:
        engines.ending().reject(release, " · ".join(dict.fromkeys(failures)))
