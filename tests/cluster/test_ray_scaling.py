"""Replicas on Ray come and go with the load, and the node of a second one is bought."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.k8s.render import render_engine, render_namespace, render_node_pools
from genai_pipeline.loadtest.probe import ContinuousProbe, ProbeResult
from tests.cluster.gpu_pools import nodes_of, profile_of
from tests.cluster.lane import MODEL, Lane, release
from tests.cluster.machine.cluster import until
from tests.cluster.machine.objects import api
from tests.cluster.on_ray import STARTS_S, application, on_ray, pods, ready
from tests.cluster.switching import lane_in
from tests.fakes.model_texts import model_with_tools

pytestmark = pytest.mark.nightly

RAY = on_ray(1, 2)
A = release("a", RAY)
BUSY, IDLE = 40, 4
"""Requests per second, whatever the answers take: several times the target of one replica, and a part of it."""


@dataclass(frozen=True)
class Scaled:
    """From one replica to two and back. The seconds are those from the higher target to the second replica."""

    seconds: float
    busy: ProbeResult
    idle: ProbeResult
    workers: int


@pytest.fixture(scope="module")
def scaled(real) -> Iterator[Scaled]:
    with lane_in(real, f"test-scaling-{uuid.uuid4().hex[:8]}", specs=(RAY,)) as lane:
        lane.roll_out(A)
        with ContinuousProbe(lane.url, MODEL, rate_per_s=BUSY) as probe:
            seconds = _until_two_serve(lane)
            probe.see(5 * BUSY, 60)
            busy = probe.result()
        with ContinuousProbe(lane.url, MODEL, rate_per_s=IDLE) as probe:
            until(lambda: len(pods(lane, A)) == 1, "one worker", STARTS_S)
            probe.see(5 * IDLE, 60)
            yield Scaled(seconds, busy, probe.result(), len(ready(lane, A)))


def _until_two_serve(lane: Lane) -> float:
    def said() -> dict[str, Any]:
        return application(lane, A).get("deployments", {}).get("engine", {})

    until(lambda: said().get("target_num_replicas") == 2, "a target of two replicas", STARTS_S)
    began = time.monotonic()
    until(lambda: [r["state"] for r in said().get("replicas", ())] == ["RUNNING"] * 2, "two replicas", STARTS_S)
    return time.monotonic() - began


@pytest.mark.needs("pods", "kuberay")
@pytest.mark.timeout(1800)
def test_no_request_fails_while_replicas_come_and_go_with_the_load(scaled, record_property):
    record_property("seconds", scaled.seconds)
    record_property("requests", scaled.busy.total_sent + scaled.idle.total_sent)

    assert scaled.busy.causes == {}
    assert scaled.idle.causes == {}
    assert min(scaled.busy.total_sent, scaled.idle.total_sent) > BUSY
    assert scaled.workers == 1


ON_GPU = model_with_tools(
    "name: big\nsource: {hub: a/b}\nserving:\n  engine: ray\n  gpu: {instance-family: g6e}\n"
    "  resources: {cpu: 2, memory_gib: 8}\n  replicas: {min: 1, max: 2}\n",
    "models/big.yaml",
)


def workers_on_nodes(cluster: KubernetesCluster) -> list[str]:
    """The nodes of the running workers."""
    found = cluster.list("Pod", {"ray.io/node-type": "worker"})
    return [pod["spec"]["nodeName"] for pod in found if pod["status"]["phase"] == "Running"]


def ask_for_workers(kubeconfig: Path, namespace: str, number: int) -> None:
    """What Ray's autoscaler does once Serve has a replica that finds no worker."""
    with api(kubeconfig) as connection:
        custom = client.CustomObjectsApi(connection)
        (found,) = custom.list_namespaced_custom_object("ray.io", "v1", namespace, "rayclusters")["items"]
        patch = [{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": number}]
        name = found["metadata"]["name"]
        how = "application/json-patch+json"
        custom.patch_namespaced_custom_object("ray.io", "v1", namespace, "rayclusters", name, patch, _content_type=how)


@pytest.mark.needs("karpenter", "kwok", "kuberay")
def test_a_node_with_a_gpu_is_bought_for_the_second_replica(simulated, fresh_namespace):
    big = Release.of(ON_GPU, "b" * 40)
    with closing(KubernetesCluster(fresh_namespace(simulated), simulated.kubeconfig)) as cluster:
        profile = profile_of(cluster.namespace)
        cluster.apply([*render_node_pools(profile, [ON_GPU]), *render_namespace(profile)])
        cluster.apply(render_engine(ON_GPU, big, profile))
        (first,) = until(lambda: workers_on_nodes(cluster), "the first worker")

        ask_for_workers(simulated.kubeconfig, cluster.namespace, 2)

        both = until(lambda: (found := workers_on_nodes(cluster))[1:] and found, "the second worker")
        assert len(set(both)) == 2
        assert first in both
        assert set(both) <= {node["metadata"]["name"] for node in nodes_of(cluster)}
