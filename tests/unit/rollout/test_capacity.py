from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from genai_pipeline.core.errors import Unavailable
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.aws.abc import Reservation, VcpuQuota
from genai_pipeline.gateways.cluster.abc import Headroom
from genai_pipeline.gateways.cluster.free_resources import free_nodes, without_pods
from genai_pipeline.k8s.render import RELEASE_LABEL, render_agent, render_engine, render_node_pools
from genai_pipeline.rollout.capacity.capacity_plan import plan_capacity
from genai_pipeline.rollout.capacity.downtime import Downtime
from genai_pipeline.rollout.capacity.reservation import reserved_room
from genai_pipeline.rollout.capacity.room import Workload
from genai_pipeline.rollout.capacity.standing import Standing
from genai_pipeline.rollout.capacity.survey import Survey
from genai_pipeline.rollout.pools.instance_types import UNKNOWN, packaged
from genai_pipeline.rollout.pools.pool_room import pool_rooms
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS, KUBERNETES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AMPLE = Headroom(1024, 256, 64, "test")
GPU = "  gpu: {instance-family: g6e, count: 1%s}\n"


def spec(strategy="auto", gpu="", replicas=1, downtime=False, usd=0):
    return model_with_tools(
        f"name: tiny\nsource: {{hub: a/b}}\n"
        f"rollout: {{strategy: {strategy}, allow_downtime: {str(downtime).lower()}}}\n"
        f"gates: {{serving: {{usd_per_hour: {usd}}}}}\n"
        f"serving:\n  resources: {{cpu: 2, memory_gib: 8}}\n  replicas: {{min: {replicas}, max: {replicas}}}\n{gpu}",
        "f",
    )


def gpu_pool(model, used=0, limit=2):
    """The GPU pool as we render it, with Karpenter's status."""
    pool = next(p for p in render_node_pools(EKS, [model]) if p["metadata"]["name"] == "gpu")
    pool["spec"]["limits"] = {"nvidia.com/gpu": str(limit)}
    pool["status"] = {"resources": {"nvidia.com/gpu": str(used), "cpu": str(4 * used)}}
    return pool


def node(name="n1", gpus=1, family="g6e", **spec):
    labels = {"karpenter.sh/nodepool": "gpu", "eks.amazonaws.com/instance-family": family}
    allocatable = {"cpu": "3800m", "memory": "30Gi", "nvidia.com/gpu": str(gpus), "pods": "110"}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable}}


def pod(on="n1", gpus=1, release="old"):
    resources = {"requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": str(gpus)}}
    return {
        "metadata": {"name": f"{release}-{on}", "labels": {RELEASE_LABEL: release}},
        "spec": {"nodeName": on, "containers": [{"resources": resources}]},
        "status": {"phase": "Running"},
    }


def survey(
    model,
    headroom=AMPLE,
    pools=(),
    nodes=(),
    pods=(),
    quotas=(),
    reserved=None,
    region="us-east-1",
    profile=EKS,
    **more,
):
    release, known = Release.of(model, "a" * 40), None if profile.has_eks_nodes else UNKNOWN
    (engine,) = Workload.all_of(render_engine(model, release, profile))
    (agent,) = Workload.all_of(render_agent(model, release, EKS, "http://"))
    live = [p for p in pods if p["metadata"]["labels"][RELEASE_LABEL] == "old"]
    headroom, rooms = replace(headroom, nodes=free_nodes(nodes, pods)), None
    if pools:
        both = headroom.nodes, without_pods(headroom.nodes, live)
        rooms = tuple(pool_rooms(engine.spec, pools, there, known or packaged(region)) for there in both)
    return Survey(engine, [agent], live, headroom, quotas, rooms, known or packaged(region), reserved, **more)


def plan(model, found=None, **standing):
    standing = {"live": "old"} | standing
    found = found or survey(model)
    return plan_capacity(model, found, Standing(**standing), lambda: Downtime(7.5, "release old"))


def verdict(result, check):
    return next(v for v in result.verdicts if v.check == check)


def outcomes(result):
    return {v.check: v.outcome for v in result.verdicts}


def test_a_candidate_that_fits_beside_the_live_release_is_blue_green():
    result = plan(spec())

    assert result.strategy == "blue_green"
    assert set(outcomes(result).values()) == {Outcome.PASSED}
    assert result.downtime is None


SHORT = [Headroom(4, 64, 0, "test"), Headroom(64, 1, 0, "test")]


@pytest.mark.parametrize("short", SHORT)
def test_without_room_recreate_is_chosen_only_where_downtime_is_allowed(short):
    live = {**pod(), "spec": {"containers": [{"resources": {"requests": {"cpu": "2", "memory": "8Gi"}}}]}}

    allowed = plan(spec(downtime=True), survey(spec(), short, pods=[live]))
    refused = plan(spec(), survey(spec(), short, pods=[live]))

    assert allowed.strategy == "recreate"
    assert set(outcomes(allowed).values()) == {Outcome.PASSED}
    assert refused.strategy is None
    assert outcomes(refused)["surge_fits"] is outcomes(refused)["strategy_chosen"] is Outcome.FAILED
    assert "rollout.allow_downtime: true" in verdict(refused, "surge_fits").summary


def test_recreate_says_for_how_long_users_are_not_served():
    result = plan(spec("recreate", downtime=True))

    assert result.downtime.minutes == 7.5
    assert "not served for about 7.5 minutes (release old)" in verdict(result, "strategy_chosen").summary
    assert {"what": "expected downtime", "value": "7.5 minutes", "source": "release old"} in result.rows


def test_asking_for_recreate_without_allowing_downtime_fails_and_says_what_to_set():
    result = plan(spec("recreate"))

    assert result.strategy is None
    assert "rollout.allow_downtime is false" in verdict(result, "strategy_chosen").summary


def test_recreate_interrupts_no_one_where_no_release_is_live():
    result = plan(spec("recreate"), live=None)

    assert result.strategy == "recreate"
    assert result.downtime is None


def test_what_would_not_fit_in_the_live_releases_place_either_fails_although_downtime_is_allowed():
    result = plan(spec(downtime=True), survey(spec(), Headroom(4, 64, 0, "test")))

    assert result.strategy is None
    assert "would not fit in the live release's place either" in verdict(result, "surge_fits").summary


def test_without_room_and_without_a_live_release_to_stop_it_fails_and_says_what_lacks():
    result = plan(spec(downtime=True), survey(spec(), Headroom(4, 64, 0, "test")), live=None)

    assert result.strategy is None
    assert "memory_gib: " in verdict(result, "surge_fits").summary
    assert "4 free" in verdict(result, "surge_fits").summary


def test_blue_green_that_does_not_fit_fails_rather_than_interrupt_service():
    result = plan(spec("blue_green", downtime=True), survey(spec(), Headroom(4, 64, 0, "test")))

    assert outcomes(result)["surge_fits"] is Outcome.FAILED


def test_a_candidate_that_already_runs_needs_no_more_room():
    found = survey(spec(), Headroom(0, 0, 0, "test"))

    assert plan(spec(), found, candidate_is_up=True).strategy == "blue_green"


def test_a_rerun_that_finds_the_live_release_stopped_stays_with_recreate():
    found = survey(spec(), AMPLE)

    assert plan(spec(), found, candidate_is_up=True, made_room=True).strategy == "recreate"


def test_what_the_cluster_does_not_know_is_not_counted_against_the_candidate():
    assert plan(spec(), survey(spec(), Headroom(64, None, None, "test"))).strategy == "blue_green"


def test_a_full_pool_leaves_no_surge_and_is_named_with_its_limit():
    model = spec(gpu=GPU % "")
    found = survey(model, pools=[gpu_pool(model, used=2)], nodes=[node(), node("n2")], pods=[pod(), pod("n2")])

    result = plan(model, found)

    assert result.strategy is None
    said = verdict(result, "surge_fits").summary
    assert "1 needed, 0 free (NodePool gpu (limits: nvidia.com/gpu: 2 of 2 in use))" in said


def test_a_full_pool_with_downtime_allowed_is_recreate():
    model = spec(gpu=GPU % "", downtime=True)
    found = survey(model, pools=[gpu_pool(model, used=1, limit=1)], nodes=[node()], pods=[pod()])

    assert plan(model, found).strategy == "recreate"


def test_a_free_gpu_on_a_node_that_runs_is_room_although_the_limit_is_reached():
    model = spec(gpu=GPU % "")
    found = survey(model, pools=[gpu_pool(model, used=2)], nodes=[node(), node("n2")], pods=[pod()])

    assert plan(model, found).strategy == "blue_green"


@pytest.mark.parametrize("of_no_use", [{"unschedulable": True}, {"taints": [{"key": "x", "effect": "NoExecute"}]}])
def test_a_node_that_takes_no_pods_is_no_room(of_no_use):
    model = spec(gpu=GPU % "")
    found = survey(model, pools=[gpu_pool(model, used=2)], nodes=[node(**of_no_use)])

    assert plan(model, found).strategy is None


def test_a_node_of_another_family_is_no_room():
    model = spec(gpu=GPU % "")
    found = survey(model, pools=[gpu_pool(model, used=2)], nodes=[node(family="g5")])

    assert plan(model, found).strategy is None


def test_pods_that_have_ended_hold_no_room():
    model = spec(gpu=GPU % "")
    ended = {**pod(), "status": {"phase": "Failed"}}
    found = survey(model, pools=[gpu_pool(model, used=2)], nodes=[node()], pods=[ended])

    assert plan(model, found).strategy == "blue_green"


def quota(hard, used, **spec):
    return {"metadata": {"name": "team"}, "spec": spec, "status": {"hard": hard, "used": used}}


def test_a_resource_quota_that_leaves_no_surge_is_named():
    full = quota({"requests.nvidia.com/gpu": "1"}, {"requests.nvidia.com/gpu": "1"})
    model = spec(gpu=GPU % "")

    result = plan(model, survey(model, quotas=[full]))

    assert result.strategy is None
    assert "ResourceQuota team: requests.nvidia.com/gpu" in verdict(result, "surge_fits").summary


def test_a_resource_quota_that_the_live_release_fills_leads_to_recreate():
    full = quota({"pods": "2"}, {"pods": "2"})
    model = spec(gpu=GPU % "", downtime=True)

    assert plan(model, survey(model, quotas=[full], pods=[pod(), pod("n2")])).strategy == "recreate"


def test_a_scoped_quota_counts_other_pods():
    full = quota({"pods": "0"}, {"pods": "0"}, scopes=["BestEffort"])

    assert plan(spec(), survey(spec(), quotas=[full])).strategy == "blue_green"


def test_the_accounts_quota_is_counted_in_vcpus_of_new_nodes():
    model = spec(gpu=GPU % "", replicas=2)
    pool = gpu_pool(model, limit=8)

    enough = plan(model, survey(model, pools=[pool], quota=VcpuQuota("Running On-Demand G and VT instances", 16, 8)))
    short = plan(model, survey(model, pools=[pool], quota=VcpuQuota("Running On-Demand G and VT instances", 16, 12)))

    assert enough.strategy == "blue_green"
    assert short.strategy is None
    assert "vcpus: 8 needed, 4 free (EC2 quota Running On-Demand G and VT" in verdict(short, "surge_fits").summary


def test_a_quota_that_cannot_be_read_is_inconclusive():
    model = spec(gpu=GPU % "")
    found = survey(model, pools=[gpu_pool(model)], quota_unread=str(Unavailable("AWS did not answer.", "Later.")))

    assert outcomes(plan(model, found))["surge_fits"] is Outcome.INCONCLUSIVE


def test_the_second_replicas_price_is_said_with_its_source_and_date():
    model = spec(gpu=GPU % "")

    said = verdict(plan(model, survey(model, pools=[gpu_pool(model)])), "surge_fits").summary

    assert "A second replica costs 1.86 USD per hour" in said
    assert "on-demand price of 2025-07-01 for a g6e.xlarge in us-east-1" in said


def test_a_surge_that_adds_nothing_to_the_bill_is_said_to():
    model = spec(gpu=GPU % ", reservation: optional")
    pool = gpu_pool(model)

    there = plan(model, survey(model, pools=[pool], nodes=[node()]))
    reserved_ = plan(model, survey(model, pools=[pool], reserved=reserved(model, reservation())))
    bought = plan(model, survey(model, pools=[pool]))

    assert "The surge fits on nodes that run already." in verdict(there, "surge_fits").summary
    assert "a capacity reservation, which is paid for either way" in verdict(reserved_, "surge_fits").summary
    assert "already" not in verdict(bought, "surge_fits").summary


def test_the_agents_pod_is_not_in_the_reservation():
    model = spec(gpu=REQUIRED, downtime=True)
    agent = {**pod(), "spec": {"nodeName": "n9", "containers": [{"resources": {"requests": {"cpu": "1"}}}]}}
    found = survey(model, pods=[agent], reserved=reserved(model, reservation(available=0)))

    assert plan(model, found).strategy is None


def test_the_model_files_own_price_comes_first():
    model = spec(gpu=GPU % "", replicas=2, usd=3)

    result = plan(model, survey(model, pools=[gpu_pool(model, limit=8)]))

    assert result.price.usd_per_hour == 1.5
    assert "gates.serving.usd_per_hour" in result.price.source


def test_a_price_that_is_not_known_is_said_to_be_unknown():
    model = spec(gpu=GPU % "")

    result = plan(model, survey(model, pools=[gpu_pool(model)], region="eu-central-1"))

    assert result.price.usd_per_hour is None
    assert "g6e.xlarge in eu-central-1" in result.price.source
    assert "unknown" in verdict(result, "surge_fits").summary


def test_where_no_nodes_are_bought_there_is_no_price():
    assert plan(spec()).price.usd_per_hour is None


def reservation(state="active", available=1, total=1, days=30, kind="default", family="g6e"):
    ends = NOW + timedelta(days=days) if days else None
    return Reservation("cr-0a1b", f"{family}.xlarge", "us-east-1a", state, total, available, kind, ends)


def reserved(model, *found):
    return reserved_room(model.serving.gpu, found, NOW, timedelta(seconds=600), packaged("us-east-1"))


REQUIRED = GPU % ", reservation: required"


def test_a_reservation_that_cannot_be_read_is_inconclusive():
    model = spec(gpu=REQUIRED)

    assert outcomes(plan(model))["reservation_active"] is Outcome.INCONCLUSIVE


def test_an_active_reservation_with_room_passes():
    model = spec(gpu=REQUIRED)

    result = plan(model, survey(model, reserved=reserved(model, reservation())))

    assert outcomes(result)["reservation_active"] is Outcome.PASSED
    assert result.strategy == "blue_green"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (reservation(state="expired"), "it is expired"),
        (reservation(state="scheduled"), "it is scheduled"),
        (reservation(family="p5"), "it reserves p5.xlarge, not g6e"),
        (reservation(days=0.04), "it is about to expire: its instances end at 2026-01-01 00:57 UTC"),
        (reservation(available=0), "0 of 1 instances free"),
    ],
)
def test_a_reservation_of_no_use_fails_and_says_why(found, why):
    model = spec(gpu=REQUIRED)

    result = plan(model, survey(model, reserved=reserved(model, found)), live=None)

    assert outcomes(result)["reservation_active"] is Outcome.FAILED
    assert why in verdict(result, "reservation_active").summary


def test_a_capacity_block_is_of_use_30_minutes_less():
    model = spec(gpu=REQUIRED)
    ends_in_95_minutes = {"days": 95 / 60 / 24}

    ordinary = plan(model, survey(model, reserved=reserved(model, reservation(**ends_in_95_minutes))))
    block = plan(
        model, survey(model, reserved=reserved(model, reservation(kind="capacity-block", **ends_in_95_minutes)))
    )

    assert outcomes(ordinary)["reservation_active"] is Outcome.PASSED
    assert outcomes(block)["reservation_active"] is Outcome.FAILED
    assert "30 minutes before its block" in verdict(block, "reservation_active").summary


def test_no_selected_reservation_fails_where_one_is_required():
    model = spec(gpu=REQUIRED)

    result = plan(model, survey(model, reserved=reserved(model)))

    assert outcomes(result)["reservation_active"] is Outcome.FAILED
    assert "serving.gpu.reservation-terms" in verdict(result, "reservation_active").summary


def test_a_reservation_full_of_the_live_release_leads_to_recreate_where_that_is_allowed():
    model = spec(gpu=REQUIRED, downtime=True)
    found = survey(model, pods=[pod()], reserved=reserved(model, reservation(available=0)))

    result = plan(model, found)

    assert result.strategy == "recreate"
    assert outcomes(result)["reservation_active"] is Outcome.PASSED


@pytest.mark.parametrize("known", [True, False])
def test_an_optional_reservation_does_not_hold_a_model_up(known):
    model = spec(gpu=GPU % ", reservation: optional")
    room = reserved(model, reservation(state="cancelled")) if known else None

    result = plan(model, survey(model, reserved=room, reserved_unread="" if known else "AWS did not answer."))

    assert outcomes(result)["reservation_active"] is Outcome.PASSED


def test_what_is_reserved_is_not_counted_against_the_accounts_quota():
    model = spec(gpu=REQUIRED)
    found = survey(
        model, pools=[gpu_pool(model)], quota=VcpuQuota("G", 0, 0), reserved=reserved(model, reservation(available=1))
    )

    assert plan(model, found).strategy == "blue_green"


L4, MIG = "nvidia.com/gpu.product: NVIDIA-L4", "nvidia.com/mig-1g.10gb"


def own_node(name="own", labels=None, taints=(), **offers):
    """A node of the GPU operator: no pool started it, and EKS does not know it."""
    labels = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-L4"} | (labels or {})
    offers = offers or {"nvidia.com/gpu": "1"}
    allocatable = {"cpu": "15", "memory": "60Gi", "pods": "110", **offers}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [*taints]},
        "status": {"allocatable": allocatable},
    }


def own(gpu, nodes, pods=(), pools=(), **more):
    model = spec(gpu=f"  gpu: {{{gpu}}}\n", **more)
    return plan(model, survey(model, nodes=nodes, pods=pods, pools=pools, profile=KUBERNETES))


def test_outside_eks_a_node_with_the_resource_and_the_labels_is_room_and_costs_nothing():
    fence = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}

    result = own(f"selector: {{{L4}}}", [own_node(taints=[fence])])

    assert result.strategy == "blue_green", verdict(result, "surge_fits").summary
    assert result.price.usd_per_hour is None


@pytest.mark.parametrize(
    ("gpu", "node_", "says"),
    [
        (
            "selector: {nvidia.com/gpu.product: H100}",
            own_node(),
            "has nvidia.com/gpu.product: H100: nodes have NVIDIA-L4",
        ),
        ("selector: {nvidia.com/gpu.prodct: NVIDIA-L4}", own_node(), "no node carries that label"),
        ("count: 1", own_node(taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]), "sku=gpu:NoSchedule"),
        ("count: 2", own_node(), "2 nvidia.com/gpu, and the most is 1"),
        (f"resource: {MIG}", own_node(), f"1 {MIG}, and the most is 0"),
        ("resource: amd.com/gpu", own_node(), "1 amd.com/gpu, and the most is 0"),
    ],
)
def test_outside_eks_it_is_said_why_no_node_could_take_the_model(gpu, node_, says):
    result = own(gpu, [node_])

    assert result.strategy is None
    assert "replicas: 1 needed, 0 free" in verdict(result, "surge_fits").summary
    assert says in verdict(result, "surge_fits").summary


@pytest.mark.parametrize(
    ("gpu", "key", "says"),
    [
        ("  gpu: {}\n", "sku", "Add them to serving.gpu.tolerations"),
        ("", "node-role.kubernetes.io/control-plane", "Add a node without them"),
        ("  gpu: {}\n", "node.kubernetes.io/not-ready", "Kubernetes set them"),
    ],
)
def test_what_to_do_about_a_taint_depends_on_who_set_it(gpu, key, says):
    model, tainted = spec(gpu=gpu), own_node(taints=[{"key": key, "effect": "NoSchedule"}])

    result = plan(model, survey(model, nodes=[tainted], profile=KUBERNETES))

    assert says in verdict(result, "surge_fits").summary


def test_slices_count_one_by_one_and_those_of_the_live_release_are_not_free():
    taken = {**pod("own"), "spec": {"nodeName": "own", "containers": [{"resources": {"requests": {MIG: "1"}}}]}}

    assert own(f"resource: {MIG}", [own_node(**{MIG: "2"})], [taken]).strategy == "blue_green"
    assert own(f"resource: {MIG}", [own_node(**{MIG: "1"})], [taken]).strategy is None
    assert own(f"resource: {MIG}", [own_node(**{MIG: "1"})], [taken], downtime=True).strategy == "recreate"


def test_gpus_of_two_nodes_do_not_make_one_replica_of_two():
    nodes = [own_node("a"), own_node("b")]

    assert own("count: 2", nodes).strategy is None
    assert own("count: 1", nodes, replicas=2).strategy == "blue_green"


def own_pool(limit="2", labels=None, **requirements):
    """A pool of a Karpenter that is not EKS's, whose instance types nobody here knows."""
    required = [{"key": key, "operator": "In", "values": [value]} for key, value in requirements.items()]
    template = {"metadata": {"labels": labels or {}}, "spec": {"requirements": required}}
    limits = {"nvidia.com/gpu": limit}
    return {"metadata": {"name": "mine"}, "spec": {"template": template, "limits": limits}, "status": {"resources": {}}}


def test_a_pool_of_ones_own_karpenter_is_room_within_its_limit_and_its_price_is_unknown():
    wanted = "selector: {karpenter.k8s.aws/instance-family: g5}"

    result = own(wanted, [], pools=[own_pool()])

    assert result.strategy == "blue_green", verdict(result, "surge_fits").summary
    assert "price of a second replica is unknown" in verdict(result, "surge_fits").summary
    assert own(wanted, [], pools=[own_pool(limit="0")]).strategy is None
    assert own(wanted, [], pools=[own_pool(**{"karpenter.k8s.aws/instance-family": "m5"})]).strategy is None


def test_a_label_of_ones_own_has_to_stand_in_the_pool():
    wanted = "selector: {team: ml}"

    assert own(wanted, [], pools=[own_pool(labels={"team": "ml"})]).strategy == "blue_green"
    assert own(wanted, [], pools=[own_pool()]).strategy is None
    assert own(wanted, [own_node(labels={"team": "ml"})], pools=[own_pool()]).strategy == "blue_green"


@pytest.mark.parametrize(("share", "strategy"), [(0.4, "blue_green"), (0.9, "recreate")])
def test_releases_share_the_gpu_of_one_machine(share, strategy):
    model = spec(gpu=GPU % f"}}\n  args: {{gpu-memory-utilization: {share}", downtime=True)
    found = survey(model, Headroom(64, None, round(1 - share, 1), "this machine"), profile=KUBERNETES)
    args = [f"--gpu-memory-utilization={share}"]
    live = {"spec": {"containers": [{"args": args, "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}

    assert plan(model, replace(found, live=[live])).strategy == strategy


def test_a_release_that_sleeps_stays_where_the_candidate_fits_beside_its_pod():
    shared = plan(spec("recreate", downtime=True), live_sleeps=True)
    without = plan(spec("recreate", downtime=True))
    beside = plan(spec(), live_sleeps=True)

    assert (shared.strategy, shared.live_may_sleep) == ("recreate", True)
    assert "old sleeps meanwhile" in verdict(shared, "strategy_chosen").summary
    assert not without.live_may_sleep
    assert not beside.live_may_sleep


@pytest.mark.parametrize("short", SHORT)
def test_a_release_whose_pod_keeps_what_the_candidate_needs_stops_and_does_not_sleep(short):
    live = {**pod(), "spec": {"containers": [{"resources": {"requests": {"cpu": "2", "memory": "8Gi"}}}]}}

    result = plan(spec(downtime=True), survey(spec(), short, pods=[live]), live_sleeps=True)

    assert (result.strategy, result.live_may_sleep) == ("recreate", False)
    assert "keeps what it requested" in verdict(result, "strategy_chosen").summary


@pytest.mark.parametrize(("memory_gib", "sleeps"), [(64, True), (4, False)])
def test_on_one_machine_a_sleeper_needs_no_gpu_but_the_hosts_memory(memory_gib, sleeps):
    model = spec(gpu=GPU % "}\n  args: {gpu-memory-utilization: 0.9", downtime=True)
    requests = {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"}
    args = ["--gpu-memory-utilization=0.9"]
    live = {"spec": {"containers": [{"args": args, "resources": {"limits": requests, "requests": requests}}]}}
    found = survey(model, Headroom(memory_gib, None, 0.1, "this machine"), profile=KUBERNETES)

    result = plan(model, replace(found, live=[live]), live_sleeps=True)

    assert (result.strategy, result.live_may_sleep) == ("recreate", sleeps)
