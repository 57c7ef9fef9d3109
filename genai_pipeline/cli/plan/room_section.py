"""The part of a plan about the cluster: room, nodes, reservations, price, and how traffic would move."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.core.engine_args import workers_per_replica
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.pods import Object
from genai_pipeline.k8s.placement import gpu_in_words
from genai_pipeline.k8s.render import render_live, render_node_pools, render_platform
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.capacity.capacity_plan import CapacityPlan, plan_capacity
from genai_pipeline.rollout.capacity.downtime import expected_downtime
from genai_pipeline.rollout.capacity.standing import Standing, standing_of
from genai_pipeline.rollout.capacity.survey import survey

TITLE = "Room"


def look_at_room(spec: ModelSpec, release: Release, engines: Engines, specs: Sequence[ModelSpec]) -> PlanSection:
    """Judge the room as m/capacity does, and let the cluster try all objects in a dry run.

    Args:
        specs: every model of the installation, this one included: together they shape the node pools.
    """
    lines = [PlanLine("ok", _asked_for(spec, engines.profile))]
    try:
        standing, earlier = _standing(spec, release, engines)
    except GenaiError as error:
        lines.append(PlanLine.of_error(error, "what is live. The lines below assume that nothing is"))
        standing, earlier = Standing(), []
    try:
        engines.candidates().refuse_unknown(spec, release)
        pools = _pools(engines.profile, specs)
        found = survey(engines.gateways, engines.profile, spec, release, standing.live, pools)
        plan = plan_capacity(spec, found, standing, lambda: expected_downtime(spec, earlier))
    except GenaiError as error:
        return PlanSection(TITLE, [*lines, PlanLine.of_error(error, "the room in the cluster")])
    lines += [PlanLine.of(verdict) for verdict in plan.verdicts]
    lines += [*_cost(spec, plan, standing, earlier), _dry_run(spec, release, engines)]
    return PlanSection(TITLE, lines, {"strategy": plan.strategy, "usd_per_hour_of_a_replica": plan.price.usd_per_hour})


def _pools(profile: Profile, specs: Sequence[ModelSpec]) -> list[Object]:
    """Return the node pools that platform/node_pools applies before m/capacity looks at them."""
    return [o for o in render_node_pools(profile, specs) if o["kind"] == "NodePool"]


def _asked_for(spec: ModelSpec, profile: Profile) -> str:
    serving = spec.serving
    each = f"{serving.resources.cpu:g} CPU, {serving.resources.memory_gib:g} GiB"
    if serving.gpu:
        each = f"{gpu_in_words(serving.gpu, profile)}, {each}"
    head = ", a Ray head" if serving.engine == "ray" else ""
    agent = ", and an agent" if spec.has_agent else ""
    return f"A release needs {_replicas(spec)} × ({each}){head}{agent}."


def _replicas(spec: ModelSpec) -> str:
    few, most = spec.serving.replicas.min, spec.serving.replicas.max
    pods = workers_per_replica(spec.serving)
    return (f"{few} to {most}" if spec.serving.scales else str(few)) + (f" × {pods} pods" if pods > 1 else "")


def _standing(spec: ModelSpec, release: Release, engines: Engines) -> tuple[Standing, list[Record]]:
    records = engines.records()
    as_it_is = spec.model_dump(mode="json", by_alias=True)
    record = records.get(spec.name, release.id) or Record(spec.name, release.id, release.revision, as_it_is)
    return standing_of(record, records, engines.candidates()), records.readable(spec.name)[0]


def _cost(spec: ModelSpec, plan: CapacityPlan, standing: Standing, earlier: Sequence[Record]) -> list[PlanLine]:
    """Say what a rollout costs beside the live release; nothing where no price is known or needed."""
    if plan.price.usd_per_hour is None:
        return [] if not plan.price.said else [PlanLine("hint", f"{plan.price.said} ({plan.price.source})")]
    each, replicas = plan.price.usd_per_hour, spec.serving.replicas.min
    said = any(plan.price.source in verdict.summary for verdict in plan.verdicts)
    source = "" if said else f" ({plan.price.source})"
    most = f" to {each * spec.serving.replicas.max:.2f}" if spec.serving.scales else ""
    lines = [PlanLine("ok", f"It costs {each * replicas:.2f}{most} USD per hour while it serves{source}.")]
    if standing.live and plan.strategy == "blue_green":
        proof = expected_downtime(spec, earlier)
        minutes = proof.minutes + spec.rollout.watch_minutes
        usd = each * replicas * minutes / 60
        lines.append(
            PlanLine(
                "ok",
                f"Two releases run for about {minutes:.0f} minutes: {usd:.2f} USD more. These are {proof.minutes:g} "
                f"until it is live ({proof.source}), and {spec.rollout.watch_minutes:g} of the watch.",
            )
        )
    return lines


def _dry_run(spec: ModelSpec, release: Release, engines: Engines) -> PlanLine:
    try:
        objects = [*render_platform(engines.profile), *render_live(spec, release, engines.profile)]
        engines.gateways.cluster.diff(objects)
    except GenaiError as error:
        return PlanLine.of_error(error, "whether the cluster takes the objects")
    return PlanLine("ok", f"The cluster would take the {len(objects)} objects (dry run).")
