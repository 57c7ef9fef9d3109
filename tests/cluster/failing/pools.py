"""Cases that the API server, the scheduler and Karpenter decide; no container is needed."""

from __future__ import annotations

from typing import Any

from tests.cluster.failing.cases import Case

FAMILY = "eks.amazonaws.com/instance-family"
POOL = "karpenter.sh/nodepool"
TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def pod(
    cpu: str = "1", gpus: int = 0, tolerates: bool = True, select: dict[str, str] | None = None, **spec: Any
) -> Any:
    asked: dict[str, Any] = {"cpu": cpu} | ({"nvidia.com/gpu": gpus} if gpus else {})
    container = {"name": "engine", "image": "x/y:1", "resources": {"requests": asked, "limits": asked}}
    tolerations = [TOLERATION] if gpus and tolerates else []
    return {"nodeSelector": select or {}, "tolerations": tolerations, "containers": [container], **spec}


def on_simulated_nodes(mine: str) -> list[Case]:
    """Args: mine: the prefix of the pools `<mine>-off`, limit 0, and `<mine>-one`, limit 1."""
    return [*_requirements(), *_limits(mine), *_claims(), *_admissions()]


def _requirements() -> list[Case]:
    misspelt = {"eks.amazonaws.com/instance-famly": "g6e"}
    return [
        Case("arrives", pod(gpus=1, select={FAMILY: "g6e"})),
        Case("taint", pod(gpus=1, tolerates=False), ("does not tolerate the taint nvidia.com/gpu", "serving.gpu")),
        Case(
            "label",
            pod(gpus=1, select=misspelt),
            ("No node pool offers the label", "Did you mean eks.amazonaws.com/instance-family"),
        ),
        Case(
            "family", pod(gpus=1, select={FAMILY: "p9"}), ("No node pool offers", "p9", "serving.gpu.instance-family")
        ),
        Case(
            "zone",
            pod(select={"topology.kubernetes.io/zone": "mars-1a"}),
            ("No node pool offers", "mars-1a"),
            on_unused_pools=True,
        ),
        Case("pool", pod(select={POOL: "nobody"}), ("No node pool offers", "nobody")),
        Case(
            "size",
            pod(cpu="5k"),
            ("No instance type of any node pool has enough", "cpu 5000"),
            on_unused_pools=True,
        ),
    ]


def _limits(mine: str) -> list[Case]:
    off, one = f"{mine}-off", f"{mine}-one"
    return [
        Case("limit-zero", pod(gpus=1, select={POOL: off}), (f"limit of node pool {off}", "gpu: 0", "spec.limits")),
        Case(
            "limit-reached",
            pod(gpus=1, select={POOL: one}),
            (f"limit of node pool {one}", "gpu: 1, 1 in use, 1 asked", "spec.limits"),
            ends=False,
            replicas=2,
        ),
    ]


def _claims() -> list[Case]:
    def claim(name: str, **spec: Any) -> dict[str, Any]:
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": asked | spec,
        }

    def mounting(name: str) -> Any:
        return pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": name}}])

    waits = claim("unbound", storageClassName="")
    classless = claim("classless", storageClassName="no-such-class")
    return [
        Case("unbound", mounting("unbound"), ("unbound is not bound", "Add a volume"), ends=False, beside=(waits,)),
        Case("class", mounting("classless"), ("classless is not bound", "storageClassName"), beside=(classless,)),
        Case("no-claim", mounting("gone"), ("PersistentVolumeClaim gone does not exist", "Apply the claim")),
    ]


def _admissions() -> list[Case]:
    privileged = pod()
    privileged["containers"][0]["securityContext"] = {"privileged": True}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    quota["spec"] = {"hard": {"requests.cpu": "500m"}}
    ranged = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "narrow"}}
    ranged["spec"] = {"limits": [{"type": "Container", "max": {"cpu": "500m"}}]}
    return [
        Case("security", privileged, ("Pod Security refuses", "privileged", "securityContext"), where="restricted"),
        Case("quota", pod(), ("A ResourceQuota is exceeded: small", "Raise the quota"), where="quota", beside=(quota,)),
        Case("range", pod(), ("A LimitRange refuses", "maximum cpu usage"), where="range", beside=(ranged,)),
        Case("account", pod(serviceAccountName="nobody"), ("ServiceAccount is missing", "nobody", "Apply it before")),
        Case("priority", pod(priorityClassName="topmost"), ("PriorityClass is missing: topmost", "Apply it before")),
    ]
