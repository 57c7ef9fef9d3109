"""The kinds that the pipeline uses, where the API has them, and a request about one of them. For both clusters.

The table takes the place of `kubernetes.dynamic`. Its discovery costs each process 9 to 10 calls on a cluster with
eight API groups (measured), and more where there are more groups. A rollout has some nine processes and may make 60
calls in all.

Source: Kubernetes API reference 1.34; Karpenter, KubeRay, KEDA and Prometheus operator for their kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from genai_pipeline.core.did_you_mean import suggestion
from genai_pipeline.core.errors import Refused

Verb = Literal["get", "list", "watch", "create", "patch", "delete"]


@dataclass(frozen=True)
class ApiRequest:
    """What is asked of the API server, in the words of a Role. `namespace` and `name` are empty where none applies."""

    verb: Verb
    resource: str
    path: str
    namespace: str = ""
    name: str = ""

    @property
    def method(self) -> str:
        return {"create": "POST", "patch": "PATCH", "delete": "DELETE"}.get(self.verb, "GET")

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{' ' + self.name if self.name else ''}{where}"


@dataclass(frozen=True)
class Kind:
    """A kind of object. `with_dependents`: it is gone when what it made is gone: its pods, or its autoscaler."""

    group: str
    version: str
    plural: str
    namespaced: bool = True
    with_dependents: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """Return the resource as a Role names it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """Return the path of the API that has the kind. It lists its kinds there."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of the list. An empty namespace means all of them."""
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{scope}/{self.plural}" + (f"/{name}" if name else "")

    def request(self, verb: Verb, namespace: str, name: str = "") -> ApiRequest:
        where = namespace if self.namespaced else ""
        return ApiRequest(verb, self.resource, self.path(where, name), where, name)


KINDS: Mapping[str, Kind] = {
    "ConfigMap": Kind("", "v1", "configmaps"),
    "Event": Kind("", "v1", "events"),
    "LimitRange": Kind("", "v1", "limitranges"),
    "Namespace": Kind("", "v1", "namespaces", namespaced=False),
    "Node": Kind("", "v1", "nodes", namespaced=False),
    "PersistentVolume": Kind("", "v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": Kind("", "v1", "persistentvolumeclaims"),
    "Pod": Kind("", "v1", "pods"),
    "ResourceQuota": Kind("", "v1", "resourcequotas"),
    "Secret": Kind("", "v1", "secrets"),
    "Service": Kind("", "v1", "services"),
    "ServiceAccount": Kind("", "v1", "serviceaccounts"),
    "Deployment": Kind("apps", "v1", "deployments", with_dependents=True),
    "ReplicaSet": Kind("apps", "v1", "replicasets", with_dependents=True),
    "Job": Kind("batch", "v1", "jobs", with_dependents=True),
    "HorizontalPodAutoscaler": Kind("autoscaling", "v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("policy", "v1", "poddisruptionbudgets"),
    "EndpointSlice": Kind("discovery.k8s.io", "v1", "endpointslices"),
    "Ingress": Kind("networking.k8s.io", "v1", "ingresses"),
    "NetworkPolicy": Kind("networking.k8s.io", "v1", "networkpolicies"),
    "ClusterRole": Kind("rbac.authorization.k8s.io", "v1", "clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind("rbac.authorization.k8s.io", "v1", "clusterrolebindings", namespaced=False),
    "Role": Kind("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "rolebindings"),
    "PriorityClass": Kind("scheduling.k8s.io", "v1", "priorityclasses", namespaced=False),
    "SelfSubjectAccessReview": Kind("authorization.k8s.io", "v1", "selfsubjectaccessreviews", namespaced=False),
    "StorageClass": Kind("storage.k8s.io", "v1", "storageclasses", namespaced=False),
    "CustomResourceDefinition": Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False),
    "NodeClaim": Kind("karpenter.sh", "v1", "nodeclaims", namespaced=False),
    "NodePool": Kind("karpenter.sh", "v1", "nodepools", namespaced=False),
    "NodeClass": Kind("eks.amazonaws.com", "v1", "nodeclasses", namespaced=False),
    "RayJob": Kind("ray.io", "v1", "rayjobs", with_dependents=True),
    "RayService": Kind("ray.io", "v1", "rayservices", with_dependents=True),
    "ScaledObject": Kind("keda.sh", "v1alpha1", "scaledobjects", with_dependents=True),
    "TriggerAuthentication": Kind("keda.sh", "v1alpha1", "triggerauthentications"),
    "PodMonitor": Kind("monitoring.coreos.com", "v1", "podmonitors"),
    "ServiceMonitor": Kind("monitoring.coreos.com", "v1", "servicemonitors"),
}

CLUSTER_SCOPED = frozenset(name for name, kind in KINDS.items() if not kind.namespaced)


def kind_called(name: str) -> Kind:
    """Return the kind of this name. Raises Refused for a kind that the table does not hold."""
    if name not in KINDS:
        raise Refused(f"The pipeline does not know the kind {name!r}.", suggestion(name, sorted(KINDS)))
    return KINDS[name]


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """Return the kind of a manifest. Raises Refused: `kind` or a name is missing, or the apiVersion is another one."""
    name = (manifest.get("metadata") or {}).get("name")
    if not isinstance(manifest.get("kind"), str) or not name:
        raise Refused("A manifest has no `kind` or no `metadata.name`.", "Every Kubernetes object names both.")
    kind = kind_called(manifest["kind"])
    if manifest.get("apiVersion") != kind.api_version:
        raise Refused(
            f"{manifest['kind']} {name}: the apiVersion {manifest.get('apiVersion')!r} is not supported.",
            f"Use {kind.api_version}.",
        )
    return kind
