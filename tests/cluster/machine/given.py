"""A cluster that somebody else runs: kind, EKS, anything with a kubeconfig."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from tests.cluster.machine.objects import api

_DEFINITIONS = {"karpenter": "nodepools.karpenter.sh", "kuberay": "rayservices.ray.io", "kwok": "stages.kwok.x-k8s.io"}


@dataclass(frozen=True)
class GivenCluster:
    """Like RunningCluster, for what tests need of it."""

    kubeconfig: Path
    name: str = "given"

    @cached_property
    def has(self) -> frozenset[str]:
        """What it can do, judged by what is installed on it and here; the tests' own images are not on it."""
        with api(self.kubeconfig) as connection:
            definitions = client.ApiextensionsV1Api(connection)
            found = {ability for ability, name in _DEFINITIONS.items() if _is_there(definitions, name)}
            services = client.CoreV1Api(connection).list_namespaced_service(
                "kube-system", label_selector="k8s-app=kube-dns"
            )
        beside = {"dns"} if services.items else set[str]()
        return frozenset(found | beside | ({"helm"} if shutil.which("helm") else set()))


def _is_there(definitions: client.ApiextensionsV1Api, name: str) -> bool:
    try:
        definitions.read_custom_resource_definition(name)
    except ApiException as error:
        if error.status != 404:
            raise
        return False
    return True
