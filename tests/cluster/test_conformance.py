"""The conformance suite against a real Kubernetes: ClusterIPs, and for the traffic the API server's proxy too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, FreshNamespace
from tests.cluster.kubernetes_world import KubernetesWorld, world_in
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.conformance.access import *  # noqa: F403
from tests.conformance.applying import *  # noqa: F403
from tests.conformance.configuration import *  # noqa: F403
from tests.conformance.connections import *  # noqa: F403
from tests.conformance.ending import *  # noqa: F403
from tests.conformance.failing import *  # noqa: F403
from tests.conformance.initialising import *  # noqa: F403
from tests.conformance.limits import *  # noqa: F403
from tests.conformance.probing import *  # noqa: F403
from tests.conformance.rolling_out import *  # noqa: F403
from tests.conformance.traffic import *  # noqa: F403
from tests.conformance.world import until

pytestmark = pytest.mark.needs("pods")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "access" in metafunc.fixturenames:
        of_traffic = metafunc.function.__module__.endswith(".traffic")
        metafunc.parametrize("access", ["direct", "proxy"] if of_traffic else ["direct"])


@pytest.fixture(scope="module")
def servings(real: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, KubernetesWorld]]:
    """One pod for all cases that only ask, by each way to reach it."""
    namespace, folder = f"serving-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("serving")
    worlds = {access: world_in(namespace, real.kubeconfig, access, folder) for access in ("direct", "proxy")}
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
def world(access: Any, real: Cluster, fresh_namespace: FreshNamespace, tmp_path: Path) -> Iterator[KubernetesWorld]:
    world = world_in(fresh_namespace(real), real.kubeconfig, access, tmp_path)
    yield world
    world.close()
