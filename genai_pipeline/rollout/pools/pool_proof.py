"""Apply the node pools of EKS and prove them, in the form that this cluster allows.

| form | where | how |
|---|---|---|
| probed | Karpenter's nodes are simulated, or GENAI_PROBE_GPU=buy | two probe pods (`node_probe.py`) |
| simulated | a GPU node would cost money (EKS) | which node would fit (`node_fit.py`), and a dry run for admission |
| static | nothing acts on NodePools: no Karpenter | by the requirements alone |
| none | not on EKS | not at all: nodes and pools are the cluster's own, and m/capacity looks at them for each model |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from genai_pipeline.core.errors import FieldConflict, UnknownKind
from genai_pipeline.core.model_spec import Gpu, ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Verdict, failed, judge, passed
from genai_pipeline.gateways.cluster.abc import Applied, Cluster
from genai_pipeline.gateways.cluster.free_resources import FreeNode
from genai_pipeline.gateways.cluster.pods import Object, has_pods
from genai_pipeline.k8s.placement import gpu_in_words
from genai_pipeline.k8s.render import render_node_pools, render_platform, render_release
from genai_pipeline.rollout.pools.instance_types import packaged
from genai_pipeline.rollout.pools.node_fit import offers_gpus
from genai_pipeline.rollout.pools.node_probe import NodeProbe, probe_pod
from genai_pipeline.rollout.pools.pool_requirements import judge_requirements, live_problems
from genai_pipeline.rollout.pools.pool_room import pool_rooms
from genai_pipeline.rollout.pools.pool_verdicts import is_undecided, judge_accepted, judge_gpu_fence, judge_selectors

Form = Literal["probed", "simulated", "static", "none"]
NOT_OURS = "This profile brings no node pools: nodes are the cluster's own. Each model's capacity is checked on them."

LOOKS, LOOK_S = 30, 0.5
"""Karpenter answers an apply within seconds. After 15 it counts as absent, or the pool as undecided."""


@dataclass(frozen=True)
class Proof:
    """The pools and their verdicts. `form` says how they were proven, so that a simulation is not taken for a node."""

    form: Form
    pools: Sequence[Object]
    verdicts: Sequence[Verdict]


class PoolProof:
    """Applies the pools of a platform and proves them. A second time changes nothing."""

    def __init__(
        self,
        cluster: Cluster,
        profile: Profile,
        probe: NodeProbe | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster, self._profile = cluster, profile
        self._known = packaged(profile.region)
        self._probe = probe or NodeProbe(cluster, profile)
        self._sleep = sleep

    def prove(self, specs: Sequence[ModelSpec]) -> Proof:
        """Judge the pools, apply and probe them. Where a requirement can never be met nothing is applied.

        Outside EKS only what needs no node pool is applied.

        Raises: ClusterUnavailable; Refused: the API does not accept an object.
        """
        if not self._profile.has_eks_nodes:
            self._cluster.apply(render_platform(self._profile))
            return Proof("none", [], [])
        objects = render_node_pools(self._profile, specs)
        pools, pods = [o for o in objects if o["kind"] == "NodePool"], _workloads(specs, self._profile)
        requirements, fence = judge_requirements(pools, pods), judge_gpu_fence(pools, self._known)
        judged = [requirements, fence, judge_selectors(pools, pods, self._known)]
        if not requirements.passed:
            why = "Nothing was applied, since a requirement can never be met: see requirements_known."
            return Proof("static", pools, [failed("accepted", why), *judged, failed("gpu_node_comes", why)])
        accepted, live = self._apply(objects)
        form = self._form(live)
        gpus = _kinds_of_gpu(specs)
        if form == "probed" and accepted.passed and fence.passed:
            judged[1] = self._fence(pools, fence)
        return Proof(form, pools, [accepted, *judged, self._node_comes(form, pools, live, gpus)])

    def _apply(self, objects: Sequence[Object]) -> tuple[Verdict, Sequence[Object]]:
        """Return the verdict accepted, and the pools that Karpenter acts on."""
        applied = self._cluster.apply(render_platform(self._profile))
        try:
            applied += self._cluster.apply(objects)
        except UnknownKind:
            why = "This cluster does not know NodePools (no Karpenter): they are judged and not applied."
            return passed("accepted", why), []
        except FieldConflict as error:
            raise self._with_what_is_wrong(error) from error
        live = self._answered([o["metadata"]["name"] for o in objects], applied)
        changed = any(a.action != "unchanged" for a in applied)  # the apply's dry run has compared the others
        return judge_accepted(applied, self._cluster.diff(objects) if changed else [], live), live

    def _with_what_is_wrong(self, error: FieldConflict) -> FieldConflict:
        """Return the error with the mistakes of the pools in the cluster: another manager's value may be one."""
        found = " ".join(map(str, live_problems(self._cluster.list("NodePool"))))
        return FieldConflict(f"{error.what} In the cluster: {found}", error.remedy) if found else error

    def _answered(self, names: Sequence[str], applied: Sequence[Applied]) -> Sequence[Object]:
        """Return the pools once Karpenter has looked at them, or an empty list where it does not run."""
        just_made = any(a.kind == "NodePool" and a.action == "created" for a in applied)
        found: list[Object] = []
        for _ in range(LOOKS):
            found = [p for p in self._cluster.list("NodePool") if p["metadata"]["name"] in names]
            unseen = not any(p.get("status") for p in found)
            if (unseen and not just_made) or not any(is_undecided(p) for p in found):
                break
            self._sleep(LOOK_S)
        return [p for p in found if p.get("status")]

    def _form(self, live: Sequence[Object]) -> Form:
        if not live:
            return "static"
        if self._profile.probe_gpu == "buy":
            return "probed"
        nodes = self._cluster.list("Node") if self._profile.probe_gpu == "auto" else []
        return "probed" if nodes and all(is_simulated(n) for n in nodes) else "simulated"

    def _fence(self, pools: Sequence[Object], judged: Verdict) -> Verdict:
        """Return the verdict of the first GPU pool that does not keep the probe off, or of the last one that does."""
        verdict = judged
        for pool in (p for p in pools if offers_gpus(p, self._known)):
            verdict = self._probe.fence(pool["metadata"]["name"])
            if not verdict.passed:
                break
        return replace(verdict, evidence={**judged.evidence, **verdict.evidence})

    def _node_comes(self, form: Form, pools: Sequence[Object], live: Sequence[Object], gpus: Sequence[Gpu]) -> Verdict:
        """Return the verdict gpu_node_comes, for every kind of GPU that the models ask for."""
        check = "gpu_node_comes"
        if not gpus:
            return passed(check, "No model asks for a GPU, so no node was asked for.", form=form)
        if form == "static":
            verdicts = [self._matches(gpu, pools) for gpu in gpus]
        else:
            nodes = self._cluster.headroom().nodes
            verdicts = [self._comes(form, gpu, live, nodes) for gpu in gpus]
        worst = next((v for v in verdicts if not v.passed), verdicts[0])
        rows = [
            {"gpu": gpu_in_words(g, self._profile), "outcome": str(v.outcome), "how": v.summary}
            for g, v in zip(gpus, verdicts, strict=True)
        ]
        summary = worst.summary if len(verdicts) == 1 or not worst.passed else " · ".join(v.summary for v in verdicts)
        return replace(worst, summary=summary, evidence={**worst.evidence, "form": form, "gpus": rows})

    def _matches(self, gpu: Gpu, pools: Sequence[Object]) -> Verdict:
        rooms = pool_rooms(_probe_spec(self._profile, gpu), pools, [], self._known)
        where = f"NodePool {rooms[0].pool}" if rooms else "no NodePool"
        asked = gpu_in_words(gpu, self._profile)
        why = f"{asked}: by the requirements {where} would bring a node. Not tried: this cluster starts none."
        return judge("gpu_node_comes", bool(rooms), why)

    def _comes(self, form: Form, gpu: Gpu, live: Sequence[Object], nodes: Sequence[FreeNode]) -> Verdict:
        check, asked = "gpu_node_comes", gpu_in_words(gpu, self._profile)
        rooms = pool_rooms(_probe_spec(self._profile, gpu), live, nodes, self._known)
        rows = [room.row for room in rooms]
        if not rooms:
            return failed(check, f"{asked}: no NodePool can host such a pod.", pools=rows)
        if not rooms[0].replicas:
            full = f"is full now ({rooms[0].limits}). It would bring such a node; none was asked for."
            return passed(check, f"{asked}: NodePool {rooms[0].pool} {full}", pools=rows)
        if form == "probed":
            return self._probe.provision(gpu)
        # The API server admits the pod, or this raises Refused with its reason.
        self._cluster.diff([probe_pod(self._profile, gpu, "genai-probe-dry-run")])
        type_name = rooms[0].new_node.name if rooms[0].new_node else "a type of unknown size"
        how = "fits on a node that runs" if rooms[0].on_nodes else f"would bring a {type_name}"
        bought = "Simulated, since a GPU costs money; GENAI_PROBE_GPU=buy asks for a real one."
        return passed(check, f"{asked}: NodePool {rooms[0].pool} {how}. {bought}", pools=rows)


def _workloads(specs: Sequence[ModelSpec], profile: Profile) -> list[Object]:
    """Return what makes the pods of a release of each model. Where they can run does not depend on the revision."""
    return [
        o
        for spec in specs
        for release in [Release.of(spec, "0" * 40)]
        for o in render_release(spec, release, profile)
        if has_pods(o)
    ]


def _kinds_of_gpu(specs: Sequence[ModelSpec]) -> list[Gpu]:
    gpus = [s.serving.gpu for s in specs if s.serving.gpu]
    return list({gpu.model_dump_json(exclude={"reservation", "reservation_terms"}): gpu for gpu in gpus}.values())


def _probe_spec(profile: Profile, gpu: Gpu) -> Object:
    return probe_pod(profile, gpu, "genai-probe")["spec"]


def is_simulated(node: Object) -> bool:
    """Return whether it is a node of kwok, which costs nothing. Source: kwok documentation, "Manage Nodes"."""
    provider = str((node.get("spec") or {}).get("providerID") or "")
    return provider.startswith("kwok://") or "kwok.x-k8s.io/node" in (node["metadata"].get("annotations") or {})
