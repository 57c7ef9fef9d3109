"""m/capacity against a real API server and Karpenter: the room for a second replica, and what is done without it."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.rollout.capacity.capacity_plan import plan_capacity
from genai_pipeline.rollout.capacity.downtime import Downtime
from genai_pipeline.rollout.capacity.standing import Standing
from genai_pipeline.rollout.capacity.survey import survey
from tests.cluster.gpu_pools import NEEDS, model, nodes_of, pool, profile_of, start_engine, until, used_gpus
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.fakes.world import World

pytestmark = NEEDS
FAMILY = "g5"


@pytest.fixture(scope="module")
def cluster(simulated):
    """A namespace with a GPU pool of its own, so that no other test's node has a GPU free for it."""
    name = f"surge-{uuid.uuid4().hex[:6]}"
    create_namespace(simulated.kubeconfig, name)
    gateway = KubernetesCluster(name, simulated.kubeconfig)
    limit_pool(gateway, 2)
    yield gateway
    gateway.delete("NodePool", name)
    gateway.close()
    delete_namespace(simulated.kubeconfig, name)


@pytest.fixture(scope="module")
def live(cluster):
    """An engine on the pool's one node, which Karpenter has counted."""
    release = start_engine(cluster, model(FAMILY), "a")
    until(lambda: used_gpus(cluster, cluster.namespace) == 1, "Karpenter's count of the pool")
    return release


def limit_pool(cluster, gpus):
    one = pool(cluster)
    one["metadata"]["name"] = cluster.namespace
    one["spec"]["template"]["spec"]["requirements"][0]["values"] = [FAMILY]
    one["spec"]["limits"] = {"nvidia.com/gpu": str(gpus)}
    cluster.apply([one])
    until(lambda: (cluster.get("NodePool", cluster.namespace) or {}).get("status"), "Karpenter's look at the pool")


def plan(cluster, spec, live):
    world = World()
    gateways = Gateways(world.hub, world.store, cluster, world.inference, world.agent, world.gateways().metrics)
    candidate = Release.of(spec, "b" * 40)
    found = survey(
        gateways, replace(profile_of(cluster.namespace), region="us-west-2"), spec, candidate, live.id if live else None
    )
    standing = Standing(live=live.id if live else None)
    return plan_capacity(spec, found, standing, lambda: Downtime(4.0, "release old"))


def verdict(result, check="surge_fits"):
    return next(v for v in result.verdicts if v.check == check)


def test_a_surge_within_the_pools_limit_is_blue_green_and_has_a_price(cluster, live):
    limit_pool(cluster, 2)

    result = plan(cluster, model(FAMILY), live)

    assert result.strategy == "blue_green", [v.summary for v in result.verdicts]
    assert "A second replica costs 1.01 USD per hour" in verdict(result).summary
    (row,) = verdict(result).evidence["pools"]
    assert (row["pool"], row["new_node"]) == (cluster.namespace, "g5.xlarge")
    assert (row["on_running_nodes"], row["on_new_nodes"]) == (0, 1)


def test_a_surge_beyond_the_limit_fails_and_names_pool_limit_and_way_out(cluster, live):
    limit_pool(cluster, 1)

    result = plan(cluster, model(FAMILY), live)

    assert result.strategy is None
    assert verdict(result).outcome is Outcome.FAILED
    said = verdict(result).summary
    assert f"NodePool {cluster.namespace} (limits: nvidia.com/gpu: 1 of 1 in use)" in said
    assert "or set rollout.allow_downtime: true: users would not be served for about 4 minutes" in said


def test_a_surge_beyond_the_limit_is_recreate_where_downtime_is_allowed(cluster, live):
    limit_pool(cluster, 1)

    result = plan(cluster, model(FAMILY, downtime=True), live)

    assert result.strategy == "recreate", [v.summary for v in result.verdicts]
    assert result.downtime.minutes == 4.0


def test_karpenter_says_the_same_of_a_pod_beyond_the_limit(cluster, live):
    limit_pool(cluster, 1)
    candidate = start_engine(cluster, model(FAMILY), "c", wait=False)

    def refused():
        pods = cluster.list("Pod", {"genai-pipeline/release": candidate.id})
        events = [e for pod in pods for e in cluster.events("Pod", pod["metadata"]["name"])]
        return any("limits for nodepool" in e.message or "exceed" in e.message for e in events)

    until(refused, "Karpenter's refusal")
    cluster.delete("Deployment", candidate.object_name)

    assert len(nodes_of(cluster, cluster.namespace)) == 1


def test_without_a_live_release_there_is_nothing_to_make_room(cluster, live):
    limit_pool(cluster, 1)

    result = plan(cluster, model(FAMILY, downtime=True), None)

    assert result.strategy is None


def test_the_namespaces_quota_is_named(cluster, live):
    used = {"requests.nvidia.com/gpu": "1"}
    metadata = {"name": "team", "namespace": cluster.namespace}
    cluster.apply([{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": used}}])
    until(lambda: (cluster.get("ResourceQuota", "team") or {}).get("status", {}).get("used") == used, "a counted quota")
    limit_pool(cluster, 2)

    result = plan(cluster, model(FAMILY), live)
    cluster.delete("ResourceQuota", "team")

    assert result.strategy is None
    assert "ResourceQuota team: requests.nvidia.com/gpu" in verdict(result).summary


def test_a_model_whose_family_no_pool_offers_has_no_room(cluster, live):
    result = plan(cluster, model("p5"), None)

    assert result.strategy is None
    assert "none that can host the pods" in verdict(result).summary
