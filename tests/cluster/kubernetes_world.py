"""What the conformance suite sees of a real Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from genai_pipeline.gateways.cluster.abc import Cluster, Manifest
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.cluster.machine.node import PYTHON
from tests.conformance.world import World


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


def world_in(
    namespace: str, kubeconfig: Path, access: Any, folder: Path, through: Path | None = None
) -> KubernetesWorld:
    """Args: through: another kubeconfig for the client under test, whose way to the API may be a bad one."""
    mine = KubernetesCluster(namespace, through or kubeconfig, access=access)
    other = KubernetesCluster(namespace, kubeconfig, field_manager="somebody-else", access="direct")
    return KubernetesWorld(mine, other, PYTHON, kubeconfig=kubeconfig, folder=folder)
