"""KEDA's real operator and metrics server beside a cluster, joined to it as its manifests join them in a pod.

The API server asks the metrics server by an APIService. The Service of that is an external name, which needs no
kube-proxy. What KEDA may do is not proven: it comes as an administrator.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from genai_pipeline.local.ports import free_ports
from tests.cluster.machine.cluster import until
from tests.cluster.machine.namespaces import create_namespace
from tests.cluster.machine.objects import api, apply
from tests.cluster.operators.beside_the_cluster import apply_kinds, program
from tests.cluster.operators.operator_builds import KEDA

NAMESPACE = "keda"
METRICS = "keda-metrics-apiserver"
API = "v1beta1.external.metrics.k8s.io"
READY_S = 60
_HERE = "127.0.0.1"
_NAMES = f"subjectAltName=DNS:{METRICS}.{NAMESPACE}.svc,DNS:localhost,IP:{_HERE}"


@contextmanager
def keda(cluster: Any, folder: Path, **role: str) -> Iterator[None]:
    """Run KEDA beside a cluster, once the API server has its metrics.

    Args:
        folder: for certificates and logs.
        role: variables with keys of AWS, in place of the role that EKS binds to its account.
    """
    apply_kinds(cluster, KEDA)
    certificates = _certificates(folder)
    grpc, secure, *others = free_ports(5)
    kubeconfig = str(cluster.kubeconfig)
    environment = {"KUBECONFIG": kubeconfig, "POD_NAMESPACE": NAMESPACE, "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE}
    environment |= {"WATCH_NAMESPACE": "", **role}
    _namespace(cluster.kubeconfig)
    operator = [
        KEDA.program("keda-operator"),
        f"--cert-dir={certificates}",
        f"--metrics-service-bind-address={_HERE}:{grpc}",
        f"--metrics-bind-address={_HERE}:{others[0]}",
        f"--health-probe-bind-address={_HERE}:{others[1]}",
    ]
    metrics = [
        KEDA.program(METRICS),
        f"--metrics-service-address={_HERE}:{grpc}",
        f"--bind-address={_HERE}",
        f"--secure-port={secure}",
        f"--port={others[2]}",
        f"--cert-dir={certificates}",
        f"--tls-cert-file={certificates}/tls.crt",
        f"--tls-private-key-file={certificates}/tls.key",
        *(f"--{use}-kubeconfig={kubeconfig}" for use in ("lister", "authentication", "authorization")),
    ]
    with (
        program(operator, folder / "keda-operator.log", **environment),
        program(metrics, folder / f"{METRICS}.log", **environment),
    ):
        apply(cluster.kubeconfig, _objects(secure, (certificates / "ca.crt").read_bytes()))
        try:
            until(lambda: _is_available(cluster.kubeconfig), f"APIService {API}", READY_S)
            yield
        finally:
            # Without its server it would hold up the end of every namespace.
            _forget(cluster.kubeconfig)


def _certificates(folder: Path) -> Path:
    """One certificate that is its own authority, for both programs as server and as client."""
    made = folder / "certificates"
    made.mkdir()
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=keda", "-addext", _NAMES]
    files = ["-keyout", str(made / "tls.key"), "-out", str(made / "tls.crt")]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
    (made / "ca.crt").write_bytes((made / "tls.crt").read_bytes())
    return made


def _objects(port: int, authority: bytes) -> list[dict[str, Any]]:
    """What leads the API server to the metrics server, and lets the autoscaler's controller read there.

    Source: KEDA 2.20, config/metrics-server.
    """
    may_read = {"apiGroups": ["external.metrics.k8s.io"], "resources": ["*"], "verbs": ["*"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "keda-external-metrics-reader"}}
    reader = {"kind": "ServiceAccount", "name": "horizontal-pod-autoscaler", "namespace": "kube-system"}
    to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["metadata"]["name"]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": METRICS, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        },
        role | {"kind": "ClusterRole", "rules": [may_read]},
        role | {"kind": "ClusterRoleBinding", "roleRef": to, "subjects": [reader]},
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API},
            "spec": {
                "group": API.partition(".")[2],
                "version": API.partition(".")[0],
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(authority).decode(),
                "service": {"name": METRICS, "namespace": NAMESPACE, "port": port},
            },
        },
    ]


def _namespace(kubeconfig: Path) -> None:
    try:
        create_namespace(kubeconfig, NAMESPACE)
    except ApiException as error:
        if error.status != 409:
            raise


def _is_available(kubeconfig: Path) -> bool:
    with api(kubeconfig) as connection:
        found: Any = client.ApiregistrationV1Api(connection).read_api_service(API)
    return any(c.type == "Available" and c.status == "True" for c in found.status.conditions or [])


def _forget(kubeconfig: Path) -> None:
    with api(kubeconfig) as connection:
        client.ApiregistrationV1Api(connection).delete_api_service(API)
