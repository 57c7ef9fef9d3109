"""Puts a plan together: file, source, staging, engine, room, proof, next tick. It writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from genai_pipeline.cli.plan.engine_section import look_at_engine
from genai_pipeline.cli.plan.model_file_section import FoundFile
from genai_pipeline.cli.plan.next_tick_section import look_at_next_tick
from genai_pipeline.cli.plan.plan_page import ModelPlan, PlanLine, PlanSection
from genai_pipeline.cli.plan.proof_section import look_at_proof
from genai_pipeline.cli.plan.room_section import look_at_room
from genai_pipeline.cli.plan.source_section import FoundSource, look_at_source
from genai_pipeline.cli.plan.staging_section import look_at_staging
from genai_pipeline.cli.staging import resolved_revision
from genai_pipeline.core.errors import GenaiError, StoreUnavailable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.dagster_api import Run
from genai_pipeline.gateways.store.read_only import ReadOnlyStore
from genai_pipeline.resources.engines import Engines


def read_only(engines: Engines, silent: StoreUnavailable | None = None) -> Engines:
    """Return engines whose bucket cannot be written to.

    Args:
        silent: why the bucket cannot answer, if that is known.
    """
    gateways = replace(engines.gateways, store=ReadOnlyStore(engines.gateways.store, silent))
    return replace(engines, gateways=gateways)


def plan_model(
    file: FoundFile,
    engines: Engines,
    runs: Callable[[], Sequence[Run]],
    installed: Callable[[str], str | None],
    say: Log,
) -> ModelPlan:
    """Walk a model file through everything that its rollout would ask.

    Args:
        engines: with a bucket that is only read.
        runs: returns the runs under way.
        installed: returns the version of a package of this machine.
        say: takes what goes on while the content of a source is read.
    """
    if file.spec is None:
        rest = PlanSection(
            "Rest", [PlanLine("unknown", "not known: a file with wrong fields is not looked at further.")]
        )
        return ModelPlan(file.name, str(file.path), [file.section, rest])
    sections = [file.section, *_sections(file, file.spec, engines, runs, installed, say)]
    return ModelPlan(file.name, str(file.path), sections, file.spec.model_dump(mode="json", by_alias=True))


def _sections(
    file: FoundFile,
    spec: ModelSpec,
    engines: Engines,
    runs: Callable[[], Sequence[Run]],
    installed: Callable[[str], str | None],
    say: Log,
) -> list[PlanSection]:
    profile, gateways = engines.profile, engines.gateways
    hub = gateways.source(spec.source)
    revision: str | GenaiError
    try:
        revision = resolved_revision(hub, spec, spec.source.ref, say)
    except GenaiError as error:
        revision = error
    source = look_at_source(spec, hub, revision)
    sections = [source.section]
    if source.snapshot:
        sections.append(look_at_staging(spec, source.snapshot, gateways.store, profile))
    else:
        sections.append(PlanSection("Staging", [PlanLine("hint", "Nothing is staged before the source is right.")]))
    release = _release(spec, source)
    sections.append(look_at_engine(spec, release, source, profile, gateways, installed, file.refused))
    sections.append(look_at_room(spec, release, engines, file.specs))
    sections.append(look_at_proof(spec))
    sections.append(look_at_next_tick(spec, revision, gateways.store, runs, profile.max_rollouts))
    return sections


def _release(spec: ModelSpec, source: FoundSource) -> Release:
    """Return the release; of a source that did not answer, one that cannot exist, so that nothing of it is found."""
    return Release.of(spec, source.revision or "0" * 40)
