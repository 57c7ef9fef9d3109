"""The conformance suite against a real Kubernetes: ClusterIPs, and for the traffic the API server's proxy too."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from genai_pipeline.gateways.cluster.abc import Cluster, Manifest
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.cluster.machine.cluster import RunningCluster
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.conformance.access import *  # noqa: F403
from tests.conformance.applying import *  # noqa: F403
from tests.conformance.configuration import *  # noqa: F403
from tests.conformance.ending import *  # noqa: F403
from tests.conformance.failing import *  # noqa: F403
from tests.conformance.limits import *  # noqa: F403
from tests.conformance.probing import *  # noqa: F403
from tests.conformance.rolling_out import *  # noqa: F403
from tests.conformance.traffic import *  # noqa: F403
from tests.conformance.world import World, until

pytestmark = pytest.mark.needs("pods")


@dataclass
class KubernetesWorld(World):
    """`folder` is for the kubeconfigs of other identities."""

    kubeconfig: Path = Path()
    folder: Path = Path()
    clients: list[KubernetesCluster] = field(default_factory=list)

    def close(self) -> None:
        for client in (self.cluster, self.other_manager, *self.clients):
            cast(KubernetesCluster, client).close()
        self.http.close()

    def create_by_hand(self, manifest: Manifest) -> None:
        from kubernetes import client, config

        with config.new_client_from_config(str(self.kubeconfig)) as api:
            core = client.CoreV1Api(api)
            create = {"ConfigMap": core.create_namespaced_config_map, "Service": core.create_namespaced_service}
            create[manifest["kind"]](self.cluster.namespace, dict(manifest), field_manager="kubectl-create")

    def with_identity(self, *rules: Mapping[str, Any]) -> Cluster:
        from kubernetes import client, config

        group, name = "rbac.authorization.k8s.io", {"name": "somebody"}
        subject = {"kind": "ServiceAccount", **name}
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": name, "rules": list(rules)}
        binding = role | {"kind": "RoleBinding", "subjects": [subject], "roleRef": role_ref(group)}
        del binding["rules"]
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}
        self.cluster.apply([account, role, binding])
        with config.new_client_from_config(str(self.kubeconfig)) as api:
            request: Any = {"spec": {"expirationSeconds": 600}}
            made = client.CoreV1Api(api).create_namespaced_service_account_token(
                name["name"], self.cluster.namespace, request
            )
        return self._with_token(made.status.token)

    def with_bad_credentials(self) -> Cluster:
        return self._with_token("not-a-token")

    def _with_token(self, token: str) -> Cluster:
        settings = yaml.safe_load(self.kubeconfig.read_text())
        settings["users"] = [{"name": user["name"], "user": {"token": token}} for user in settings["users"]]
        file = self.folder / "other.kubeconfig"
        file.write_text(yaml.safe_dump(settings))
        self.clients.append(KubernetesCluster(self.cluster.namespace, file, access="direct"))
        return self.clients[-1]


def role_ref(group: str) -> dict[str, str]:
    return {"apiGroup": group, "kind": "Role", "name": "somebody"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "access" in metafunc.fixturenames:
        of_traffic = metafunc.function.__module__.endswith(".traffic")
        metafunc.parametrize("access", ["direct", "proxy"] if of_traffic else ["direct"])


def world_in(namespace: str, real: RunningCluster, access: Any, folder: Path) -> KubernetesWorld:
    mine = KubernetesCluster(namespace, real.kubeconfig, access=access)
    other = KubernetesCluster(namespace, real.kubeconfig, field_manager="somebody-else", access="direct")
    return KubernetesWorld(mine, other, sys.executable, kubeconfig=real.kubeconfig, folder=folder)


@pytest.fixture(scope="module")
def servings(real: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, KubernetesWorld]]:
    """One pod for all cases that only ask, by each way to reach it."""
    namespace, folder = f"serving-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("serving")
    worlds = {access: world_in(namespace, real, access, folder) for access in ("direct", "proxy")}
    world = worlds["direct"]
    create_namespace(real.kubeconfig, namespace)
    world.up(world.deployment(), world.service())
    until(world.says)
    yield worlds
    delete_namespace(real.kubeconfig, namespace)
    for world in worlds.values():
        world.close()


@pytest.fixture
def serving(servings: Mapping[str, KubernetesWorld], access: str) -> KubernetesWorld:
    return servings[access]


@pytest.fixture
def world(
    access: Any, real: RunningCluster, fresh_namespace: Callable[[RunningCluster], str], tmp_path: Path
) -> Iterator[KubernetesWorld]:
    world = world_in(fresh_namespace(real), real, access, tmp_path)
    yield world
    world.close()
