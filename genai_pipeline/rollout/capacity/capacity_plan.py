"""Plans a candidate's capacity: whether it fits beside the live release, how traffic moves, what it costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from genai_pipeline.core.gpu_nodes import NVIDIA_GPU
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.gateways.cluster.free_resources import without_pods
from genai_pipeline.gateways.cluster.pods import requests_of, requests_together, shares_of_gpus
from genai_pipeline.rollout.capacity.downtime import Downtime
from genai_pipeline.rollout.capacity.prices import Price, new_nodes_for, replica_price
from genai_pipeline.rollout.capacity.reservation import ReservedRoom, judge_reservation
from genai_pipeline.rollout.capacity.room import GPUS_OF_ONE_MACHINE, Room, ec2_room, headroom_rooms, quota_rooms
from genai_pipeline.rollout.capacity.sleeper import Sleeper, judge_sleeper
from genai_pipeline.rollout.capacity.standing import Standing
from genai_pipeline.rollout.capacity.survey import Survey
from genai_pipeline.rollout.pools.node_offer import why_no_node
from genai_pipeline.rollout.pools.pool_room import PoolRoom, outside_pools, replicas_on

Strategy = Literal["blue_green", "recreate"]


@dataclass(frozen=True)
class CapacityPlan:
    """How traffic will move, with the verdicts on it.

    Args:
        downtime: set where the plan interrupts service.
        live_may_sleep: the live release sleeps meanwhile, and does not stop.
    """

    strategy: Strategy | None
    verdicts: Sequence[Verdict]
    price: Price
    downtime: Downtime | None = None
    live_may_sleep: bool = False

    @property
    def rows(self) -> list[dict[str, str]]:
        """Return the plan as a table for people."""
        rows = [{"what": "strategy", "value": self.strategy or "none possible", "source": ""}]
        if self.price.usd_per_hour is not None:
            cost = {"what": "a second replica", "value": f"{self.price.usd_per_hour:.2f} USD per hour"}
            rows.append({**cost, "source": self.price.source})
        if self.downtime:
            minutes = {"what": "expected downtime", "value": f"{self.downtime.minutes:g} minutes"}
            rows.append({**minutes, "source": self.downtime.source})
        return rows


def plan_capacity(spec: ModelSpec, found: Survey, standing: Standing, downtime: Callable[[], Downtime]) -> CapacityPlan:
    """Judge the room for one candidate and choose how traffic will move.

    Args:
        downtime: called only where the plan interrupts service, or would have to.
    """
    rooms = rooms_for(spec, found)
    beside = standing.candidate_is_up or all(room.fits for room in rooms)
    without_live = all(room.fits_without_live for room in rooms)
    strategy = _strategy(spec, standing, beside, without_live)
    interrupted = strategy == "recreate" and standing.live is not None
    minutes = downtime() if interrupted or (standing.live and not beside) else None
    sleeper = judge_sleeper(standing, rooms) if interrupted else Sleeper()
    price = replica_price(spec, found.pools[0][0] if found.pools and found.pools[0] else None, found.instance_types)
    verdicts = (
        _surge_fits(found, standing, strategy, rooms, price, minutes),
        _reservation(spec, found, standing, strategy),
        _strategy_chosen(spec, standing, strategy, beside, minutes, sleeper),
    )
    return CapacityPlan(strategy, verdicts, price, minutes if interrupted else None, sleeper.fits)


def rooms_for(spec: ModelSpec, found: Survey) -> list[Room]:
    """Return every limit that the candidate has to stay within."""
    replicas, live = found.engine.replicas, requests_together(found.live)
    all_pods = [found.engine, *found.others]
    needed = {k: sum(each.total.get(k, 0) for each in all_pods) for k in found.engine.total}
    if found.headroom.gpus is not None:  # one machine, whose releases share its GPUs
        needed[NVIDIA_GPU] = sum(shares_of_gpus(each.spec) * each.replicas for each in all_pods)
        live = live | {NVIDIA_GPU: sum(shares_of_gpus(pod["spec"]) for pod in found.live)}
    needed["pods"] = sum(each.replicas for each in all_pods)
    rooms = [*headroom_rooms(found.headroom, needed, live), *quota_rooms(found.quotas, needed, live)]
    if found.pools is not None or found.headroom.nodes:
        now, after = (_best(rooms_of) for rooms_of in found.pools or ((), ()))
        rooms.append(_replicas(found, now, after))
        rooms += _ec2(found, now, after)
    if spec.serving.gpu and spec.serving.gpu.reservation == "required" and found.reserved:
        free, freed = found.reserved.free_replicas, _with_live(found.reserved, found).free_replicas
        rooms.append(Room("replicas", replicas, free, freed, "capacity reservation"))
    return rooms


def _replicas(found: Survey, now: PoolRoom, after: PoolRoom) -> Room:
    """Return the room in the best pool and on the nodes that no pool started; without pools, on all nodes."""
    nodes = found.headroom.nodes
    pod, own = found.engine.spec, nodes if found.pools is None else outside_pools(nodes)
    free, later = (replicas_on(nodes, pod) for nodes in (own, without_pods(own, found.live)))
    sources = [f"NodePool {now.pool} (limits: {now.limits})"] if found.pools is not None else []
    if own and not (found.pools and found.pools[0]):
        sources.append(why_no_node(pod, [one.node for one in own]) or f"{len(own)} nodes")
    elif later:
        sources.append(f"{len(own)} nodes outside node pools")
    return Room("replicas", found.engine.replicas, now.replicas + free, after.replicas + later, "; ".join(sources))


def _best(rooms: Sequence[PoolRoom]) -> PoolRoom:
    return rooms[0] if rooms else PoolRoom("none that can host the pods", 0, 0, 1, None, "none")


def _ec2(found: Survey, now: PoolRoom, after: PoolRoom) -> list[Room]:
    """Return the room in the account's quota. Reserved instances already count in it and are left out."""
    reserved = found.reserved.free_replicas if found.reserved else 0
    if found.quota is None or now.new_node is None or reserved >= found.engine.replicas:
        return []
    vcpus = [new_nodes_for(found.engine.replicas, room) * now.new_node.vcpus for room in (now, after)]
    return [ec2_room(found.quota, vcpus[0], max(0, vcpus[0] - vcpus[1]))]


def _with_live(reserved: ReservedRoom, found: Survey) -> ReservedRoom:
    """Return the reservations once the live release has left them."""
    engines = sum(bool(requests_of(pod["spec"]).get(NVIDIA_GPU)) for pod in found.live)  # agents have no GPU
    free = min(reserved.all_replicas, reserved.free_replicas + engines)
    return replace(reserved, free_replicas=free)


def _strategy(spec: ModelSpec, standing: Standing, beside: bool, without_live: bool) -> Strategy | None:
    wanted = spec.rollout.strategy
    if standing.made_room:
        return "recreate"
    if wanted != "recreate" and beside:
        return "blue_green"
    if wanted == "blue_green":
        return None
    if standing.live is None:
        return "recreate" if wanted == "recreate" and beside else None
    return "recreate" if spec.rollout.allow_downtime and without_live else None


def _surge_fits(
    found: Survey,
    standing: Standing,
    strategy: Strategy | None,
    rooms: Sequence[Room],
    price: Price,
    downtime: Downtime | None,
) -> Verdict:
    short = "; ".join(f"{r.resource}: {r.needed:g} needed, {r.free:g} free ({r.source})" for r in rooms if not r.fits)
    evidence: dict[str, Any] = {"resources": [r.row for r in rooms], "cost": price.rows}
    if found.pools is not None:
        evidence["pools"] = [room.row for room in found.pools[0]]
    if strategy is None and short:
        return failed(
            "surge_fits", f"No room for the candidate: {short}. {_way_out(standing, rooms, downtime)}", **evidence
        )
    if found.quota_unread and not standing.candidate_is_up:
        return inconclusive("surge_fits", f"The EC2 quota was not read: {found.quota_unread}", **evidence)
    if strategy == "recreate" and standing.live:
        return passed("surge_fits", f"No surge: the live release makes room first. {short}".strip(), **evidence)
    where = (
        "It runs already."
        if standing.candidate_is_up
        else f"There is room beside the live release ({found.headroom.source})."
    )
    return passed("surge_fits", f"{where} {price.said} {_paid_already(found)}".strip(), **evidence)


def _paid_already(found: Survey) -> str:
    """Return why the surge adds nothing to the bill, or an empty text where it does."""
    if found.reserved and found.reserved.free_replicas >= found.engine.replicas:
        return "The surge has room in a capacity reservation, which is paid for either way."
    if found.pools and found.pools[0] and found.pools[0][0].on_nodes >= found.engine.replicas:
        return "The surge fits on nodes that run already."
    return ""


def _way_out(standing: Standing, rooms: Sequence[Room], downtime: Downtime | None) -> str:
    free = "Free that much, raise the pool's limit or the quota"
    if any(room.resource == GPUS_OF_ONE_MACHINE and not room.fits for room in rooms):
        free = "Free that much, use a machine with an NVIDIA GPU, lower serving.args.gpu-memory-utilization"
    if downtime is None or standing.live is None:
        return f"{free}, or lower what the model file asks for."
    if not all(room.fits_without_live for room in rooms):
        return f"{free}, or lower what the model file asks for: it would not fit in the live release's place either."
    return f"{free}, or set rollout.allow_downtime: true: users would not be served for about {_minutes(downtime)}."


def _minutes(downtime: Downtime) -> str:
    return f"{downtime.minutes:g} minutes ({downtime.source})"


def _reservation(spec: ModelSpec, found: Survey, standing: Standing, strategy: Strategy | None) -> Verdict:
    room = found.reserved
    if room is not None and strategy == "recreate":
        room = _with_live(room, found)
    needed = 0 if standing.candidate_is_up else found.engine.replicas
    return judge_reservation(spec, room, found.reserved_unread, needed)


def _strategy_chosen(
    spec: ModelSpec,
    standing: Standing,
    strategy: Strategy | None,
    beside: bool,
    downtime: Downtime | None,
    sleeper: Sleeper,
) -> Verdict:
    why = f"rollout.strategy is {spec.rollout.strategy}; the surge {'fits' if beside else 'does not fit'}"
    evidence: dict[str, Any] = {"strategy": strategy}
    if strategy == "recreate" and standing.live and downtime:
        evidence["expected_downtime_minutes"] = downtime.minutes
        why += f"; users are not served for about {_minutes(downtime)}{sleeper.said}"
    elif (
        strategy is None and standing.live and not spec.rollout.allow_downtime and spec.rollout.strategy != "blue_green"
    ):
        why += "; recreate interrupts service and rollout.allow_downtime is false. Make room, or set it to true" + (
            f" and accept about {_minutes(downtime)}" if downtime else ""
        )
    return judge("strategy_chosen", strategy is not None, f"{strategy or 'None possible'}: {why}.", **evidence)
