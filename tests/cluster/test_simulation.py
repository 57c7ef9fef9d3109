"""The other operators of the simulated cluster are the real ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from kubernetes import client

from tests.cluster.conftest import Cluster, FreshNamespace
from tests.cluster.machine.cluster import until
from tests.cluster.machine.objects import api, apply

pytestmark = pytest.mark.needs("kwok")


@pytest.fixture
def node(simulated: Cluster) -> str:
    """A simulated node that only this test's pods select."""
    name = f"node-{os.urandom(4).hex()}"
    manifest = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"test-node": name}},
        "spec": {"taints": [{"key": "test-node", "value": name, "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"}},
    }
    with api(simulated.kubeconfig) as connection:
        core = client.CoreV1Api(connection)
        core.create_node(manifest)
        yield name
        core.delete_node(name)


def pod_template(node: str, container: str) -> dict[str, object]:
    resources = {"cpu": "1", "memory": "2Gi"}
    return {
        "nodeSelector": {"test-node": node},
        "tolerations": [{"key": "test-node", "operator": "Exists"}],
        "containers": [
            {
                "name": container,
                "image": "rayproject/ray:2.46.0",
                "resources": {"requests": resources, "limits": resources},
            }
        ],
    }


@pytest.mark.needs("kuberay")
def test_the_ray_operator_turns_a_service_into_a_cluster_of_pods(
    simulated: Cluster, fresh_namespace: FreshNamespace, node: str
) -> None:
    namespace = fresh_namespace(simulated)
    head = {"rayStartParams": {}, "template": {"spec": pod_template(node, "ray-head")}}
    workers = {
        "groupName": "workers",
        "replicas": 2,
        "minReplicas": 1,
        "maxReplicas": 2,
        "rayStartParams": {},
        "template": {"spec": pod_template(node, "ray-worker")},
    }
    serve = "applications: [{name: app, import_path: 'app:graph', route_prefix: /}]"
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "demo", "namespace": namespace},
        "spec": {
            "serveConfigV2": serve,
            "rayClusterConfig": {"rayVersion": "2.46.0", "headGroupSpec": head, "workerGroupSpecs": [workers]},
        },
    }
    apply(simulated.kubeconfig, [service])

    with api(simulated.kubeconfig) as connection:
        core = client.CoreV1Api(connection)

        def running() -> list[str]:
            pods = core.list_namespaced_pod(namespace).items
            return sorted(p.metadata.labels["ray.io/node-type"] for p in pods if p.status.phase == "Running")

        until(lambda: running() == ["head", "worker", "worker"], "a head and two workers")


@pytest.mark.needs("helm")
def test_helm_installs_a_chart_and_waits_for_its_pods(
    simulated: Cluster, fresh_namespace: FreshNamespace, node: str, tmp_path: Path
) -> None:
    namespace = fresh_namespace(simulated)
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod_template(node, "web")},
        },
    }
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\n")
    (tmp_path / "templates" / "web.yaml").write_text(yaml.safe_dump(deployment))
    environment = os.environ | {"KUBECONFIG": str(simulated.kubeconfig), "HELM_CACHE_HOME": str(tmp_path)}
    command = ["helm", "install", "web", str(tmp_path), "--namespace", namespace, "--wait"]

    subprocess.run([*command, "--timeout=60s"], env=environment, check=True, capture_output=True)

    with api(simulated.kubeconfig) as connection:
        assert client.AppsV1Api(connection).read_namespaced_deployment("web", namespace).status.available_replicas == 1
