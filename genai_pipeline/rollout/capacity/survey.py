"""Reads what a capacity plan needs, from the cluster and from EC2. `capacity_plan.py` judges it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import Gpu, ModelSpec, ReservationTerm
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.aws.abc import VcpuQuota
from genai_pipeline.gateways.cluster.abc import Cluster, Headroom
from genai_pipeline.gateways.cluster.free_resources import FreeNode, without_pods
from genai_pipeline.gateways.cluster.pods import Object
from genai_pipeline.k8s.render import RELEASE_LABEL, render_agent, render_engine
from genai_pipeline.rollout.capacity.instance_data import instance_types_of
from genai_pipeline.rollout.capacity.reservation import ReservedRoom, reserved_room, time_of_rollout
from genai_pipeline.rollout.capacity.room import Workload
from genai_pipeline.rollout.pools.instance_types import UNKNOWN, InstanceTypes
from genai_pipeline.rollout.pools.pool_room import PoolRoom, pool_rooms


@dataclass(frozen=True)
class Survey:
    """What was found.

    Args:
        engine: the pods of the candidate that serve.
        others: its other pods: the head of a Ray cluster, an agent.
        live: the pods of the release that would make room, or an empty list where no release is live.
        pools: room by pool, the most first, now and once the live release has stopped, or None without Karpenter.
        instance_types: of the region, with their prices; UNKNOWN outside EKS.
        reserved: None where reservations were not read, and `reserved_unread` says why.
        quota: None where no quota applies, or where `quota_unread` says why it is not known.
    """

    engine: Workload
    others: Sequence[Workload]
    live: Sequence[Object]
    headroom: Headroom
    quotas: Sequence[Object]
    pools: tuple[Sequence[PoolRoom], Sequence[PoolRoom]] | None
    instance_types: InstanceTypes
    reserved: ReservedRoom | None = None
    reserved_unread: str = ""
    quota: VcpuQuota | None = None
    quota_unread: str = ""


def survey(
    gateways: Gateways,
    profile: Profile,
    spec: ModelSpec,
    release: Release,
    live: str | None,
    next_pools: Sequence[Object] = (),
) -> Survey:
    """Read everything.

    Args:
        live: id of the release that would make room, if there is one.
        next_pools: node pools as they will be applied before the release starts, where they are not applied yet.

    Raises: ClusterUnavailable, StoreUnavailable. What EC2 does not answer is in the survey and not an error.
    """
    cluster = gateways.cluster
    engine, *others = Workload.all_of(render_engine(spec, release, profile))
    if release.has_agent:  # with an autoscaler its Deployment names no number of replicas
        agents = Workload.all_of(render_agent(spec, release, profile, "http://"))
        others += [replace(each, replicas=profile.agent_replicas) for each in agents]
    serving = [p for p in cluster.list("Pod") if live and _is_of(p, release.model, live)]
    known = instance_types_of(gateways.aws, gateways.store, profile.region) if profile.has_eks_nodes else UNKNOWN
    headroom = cluster.headroom()
    reserved, reserved_unread = reservations(gateways, spec, time_of_rollout(spec), known)
    quota, quota_unread = _quota(gateways, spec.serving.gpu)
    return Survey(
        engine=engine,
        others=others,
        live=serving,
        headroom=headroom,
        quotas=cluster.list("ResourceQuota"),
        pools=_pools(cluster, engine, headroom.nodes, serving, known, next_pools),
        instance_types=known,
        reserved=reserved,
        reserved_unread=reserved_unread,
        quota=quota,
        quota_unread=quota_unread,
    )


def _is_of(pod: Object, model: str, release: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return labels.get("app.kubernetes.io/name") == model and labels.get(RELEASE_LABEL) == release


def _pools(
    cluster: Cluster,
    engine: Workload,
    nodes: Sequence[FreeNode],
    serving: Sequence[Object],
    known: InstanceTypes,
    next_pools: Sequence[Object],
) -> tuple[Sequence[PoolRoom], Sequence[PoolRoom]] | None:
    there = {
        p["metadata"]["name"]: p for p in cluster.list("NodePool") if p.get("status")
    }  # Karpenter writes the status
    planned = {p["metadata"]["name"]: {**there.get(p["metadata"]["name"], p), "spec": p["spec"]} for p in next_pools}
    pools = list({**there, **planned}.values())
    if not pools:
        return None
    later = without_pods(nodes, serving)
    return pool_rooms(engine.spec, pools, nodes, known), pool_rooms(engine.spec, pools, later, known)


def reservations(
    gateways: Gateways, spec: ModelSpec, ahead: timedelta, known: InstanceTypes
) -> tuple[ReservedRoom | None, str]:
    """Return what the reservations hold that still exist after `ahead`, or None and why they were not read.

    None without a reason means that the model asks for no reservation.
    """
    gpu = spec.serving.gpu
    if gpu is None or gpu.reservation == "none":
        return None, ""
    if gateways.aws is None:
        return None, "This profile has no EC2 to ask. Use the eks profile, or set serving.gpu.reservation to none."
    try:
        found = gateways.aws.reservations(gpu.reservation_terms or _terms_of_classes(gateways.cluster))
    except GenaiError as error:
        return None, str(error)
    return reserved_room(gpu, found, datetime.now(UTC), ahead, known), ""


def _terms_of_classes(cluster: Cluster) -> list[ReservationTerm]:
    """Return the reservations that the NodeClasses select; they count where the model file names none."""
    terms = [t for c in cluster.list("NodeClass") for t in c["spec"].get("capacityReservationSelectorTerms") or []]
    return [ReservationTerm.model_validate(term) for term in terms]


def _quota(gateways: Gateways, gpu: Gpu | None) -> tuple[VcpuQuota | None, str]:
    if gateways.aws is None or gpu is None:
        return None, ""
    try:
        return gateways.aws.vcpu_quota(gpu.instance_family), ""
    except GenaiError as error:
        return None, str(error)
