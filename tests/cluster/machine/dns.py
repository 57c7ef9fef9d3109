"""Cluster DNS: CoreDNS beside the control plane, behind the Service that every cluster has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.machine.node import DNS_ADDRESS, NODE_ADDRESS
from tests.cluster.machine.programs import Program

_COREFILE = """\
cluster.local:53 in-addr.arpa:53 {{
  bind {address}
  errors
  cache 2
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {folder}/kubeconfig test
    pods insecure
    ttl 2
  }}
}}
# There is nothing outside: say so at once.
.:53 {{
  bind {address}
  template IN ANY . {{
    rcode NXDOMAIN
  }}
}}
"""


def dns(binaries: Path, folder: Path) -> list[Program]:
    config = folder / "Corefile"
    config.write_text(_COREFILE.format(address=NODE_ADDRESS, folder=folder))
    return [Program("dns", [f"{binaries}/dns", "-conf", str(config)])]


def dns_objects() -> list[dict[str, Any]]:
    """The Service and where it leads."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    meta = {"namespace": "kube-system", "labels": {"k8s-app": "kube-dns", "kubernetes.io/service-name": "kube-dns"}}
    service = {"clusterIP": DNS_ADDRESS, "ports": [{"name": n, "port": 53, "protocol": p} for n, p in ports]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta | {"name": "kube-dns"}, "spec": service},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": meta | {"name": "kube-dns-host"},
            "addressType": "IPv4",
            "ports": [{"name": n, "port": 53, "protocol": p} for n, p in ports],
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        },
    ]
