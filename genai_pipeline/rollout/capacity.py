"""Is there room for the candidate beside the live release, and how will traffic move? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.gateways.cluster.abc import Headroom

Strategy = Literal["blue_green", "recreate"]


@dataclass(frozen=True)
class CapacityPlan:
    strategy: Strategy | None
    verdicts: Sequence[Verdict]


def plan_capacity(spec: ModelSpec, headroom: Headroom, candidate_is_up: bool, live_is_up: bool) -> CapacityPlan:
    """Judge the room for one candidate.

    Args:
        candidate_is_up: its replicas run already (a rerun), so that they need no more room.
        live_is_up: a live release holds as much room as the candidate needs.
    """
    needed = _need(spec)
    room = _room(headroom)
    lacking = {k: (v, room[k]) for k, v in needed.items() if room[k] is not None and (room[k] or 0) < v}
    table = [{"resource": k, "needed": v, "free": room[k]} for k, v in needed.items()]
    beside = candidate_is_up or not lacking
    strategy = _strategy(spec, beside, live_is_up)
    return CapacityPlan(
        strategy,
        (
            _surge_fits(strategy, lacking, headroom, table),
            _reservation(spec),
            _strategy_chosen(spec, strategy, beside),
        ),
    )


def _need(spec: ModelSpec) -> dict[str, float]:
    replicas, serving = spec.serving.replicas.min, spec.serving
    need = {"memory_gib": replicas * serving.resources.memory_gib, "cpu": replicas * serving.resources.cpu}
    return need | ({"gpu": float(replicas * serving.gpu.count)} if serving.gpu else {})


def _room(headroom: Headroom) -> dict[str, float | None]:
    return {"memory_gib": headroom.memory_gib, "cpu": headroom.cpu, "gpu": headroom.gpus}


def _strategy(spec: ModelSpec, beside: bool, live_is_up: bool) -> Strategy | None:
    wanted = spec.rollout.strategy
    if wanted == "recreate":
        return "recreate"
    if beside:
        return "blue_green"
    return "recreate" if wanted == "auto" and live_is_up else None


def _surge_fits(
    strategy: Strategy | None,
    lacking: dict[str, tuple[float, float | None]],
    headroom: Headroom,
    table: list[dict[str, object]],
) -> Verdict:
    short = "; ".join(f"{k}: {need:g} needed, {free:g} free" for k, (need, free) in lacking.items())
    if strategy == "blue_green":
        return passed("surge_fits", f"There is room beside the live release ({headroom.source}).", resources=table)
    if strategy == "recreate":
        return passed("surge_fits", f"No surge: the live release makes room first. {short}".strip(), resources=table)
    return failed(
        "surge_fits",
        f"No room for the candidate: {short}. "
        "Free that much, raise the pool's limit, or set rollout.strategy: recreate.",
        resources=table,
    )


def _reservation(spec: ModelSpec) -> Verdict:
    gpu = spec.serving.gpu
    if gpu is None:
        return passed("reservation_active", "No GPU: no capacity reservation applies.")
    if gpu.reservation == "none":
        return passed("reservation_active", "The model file asks for no capacity reservation.")
    if gpu.reservation == "optional":
        return passed("reservation_active", "A reservation is optional and none is bound: capacity comes on demand.")
    return inconclusive(
        "reservation_active",
        "serving.gpu.reservation is required, and this profile cannot read capacity reservations. "
        "Set it to none, or use the eks profile.",
    )


def _strategy_chosen(spec: ModelSpec, strategy: Strategy | None, beside: bool) -> Verdict:
    why = f"rollout.strategy is {spec.rollout.strategy}; the surge {'fits' if beside else 'does not fit'}"
    summary = f"{strategy}: {why}." if strategy else f"None possible: {why}."
    return judge("strategy_chosen", strategy is not None, summary, strategy=strategy)
