"""Ports and addresses of Services, and what network policies need to know of the profile. Pure.

A policy knows pods, namespaces and address blocks, no names of hosts: what lies outside of the cluster is let through
by its port. charts/strands-agent/templates/_network.tpl says the same of an address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.core.profile import Profile
from genai_pipeline.k8s.engine import ENGINE_PORT

AGENT_PORT = 8080
CHAT_PORT = 8080
PORTS = {"engine": ENGINE_PORT, "agent": AGENT_PORT}
POSTGRESQL_PORT = 5432
HTTPS = 443
MEMORY = "memory"
"""Where an agent keeps conversations that end with it; else in S3."""
AMAZON_S3 = "https://s3.amazonaws.com"

Peer = dict[str, Any]
Rule = dict[str, Any]

OUTSIDE: Sequence[Peer] = (
    # Everywhere but the link-local addresses, where a node's own credentials are to be had.
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}},
)
POD_IDENTITY: Sequence[Peer] = (
    {"ipBlock": {"cidr": "169.254.170.23/32"}},
    {"ipBlock": {"cidr": "fd00:ec2::23/128"}},
)
"""The EKS Pod Identity agent, which every node has at these addresses."""
MONITORING: Peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
"""Where kube-prometheus-stack lives."""
RAY_OPERATOR: Sequence[Peer] = (
    {
        "namespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "In",
                    "values": ["kuberay-system", "kuberay-operator", "ray-system"],
                }
            ]
        },
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
    },
)
"""KubeRay's operator, as its chart labels it, in a namespace that holds nothing else."""
API_SERVER_PORTS = (443, 6443)


def _pods_of(component: str) -> Peer:
    labels = {"app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "genai-pipeline"}
    return {"podSelector": {"matchLabels": labels}}


ENGINES, AGENTS = _pods_of("engine"), _pods_of("agent")
DNS: Rule = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
_IN_CLUSTER = re.compile(r"[^.]+\.(?P<namespace>[^.]+)\.svc(\.cluster\.local)?")


def stable_name(model: str, component: str) -> str:
    """Name of the Service that users know."""
    return model if component == "engine" else f"{model}-{component}"


def service_url(name: str, component: str, profile: Profile) -> str:
    """Base address of a Service as a pod reaches it. From outside the cluster `Cluster.endpoint` leads there."""
    return f"http://{name}.{profile.namespace}.svc:{PORTS[component]}"


def network_values(profile: Profile) -> dict[str, Any]:
    """Return what the template of the network policies needs."""

    def callers_of(components: Sequence[str]) -> list[Peer]:
        return callers(profile, components)

    return {
        "store_ports": store_ports(profile),
        "callers": callers_of,
        "scrapers": [MONITORING],
        "agent_egress": agent_egress(profile),
        "load_egress": [DNS, _rule([ENGINES], ENGINE_PORT)],
        "chat_egress": chat_egress(profile),
        "ray_operator": list(RAY_OPERATOR),
        "ray_head_egress": ray_head_egress(profile),
        "pod_identity": list(POD_IDENTITY),
    }


def callers(profile: Profile, components: Sequence[str]) -> list[Peer]:
    """Return who may ask: labelled namespaces, the pipeline's pods, and the API server's service proxy."""
    return [
        # Clients of the models: `kubectl label namespace NAME genai-pipeline/client=true`.
        {"namespaceSelector": {"matchLabels": {"genai-pipeline/client": "true"}}},
        {
            "podSelector": {
                "matchExpressions": [
                    {"key": "app.kubernetes.io/component", "operator": "In", "values": list(components)}
                ]
            }
        },
        *({"ipBlock": {"cidr": cidr}} for cidr in profile.api_server_cidrs),
    ]


def agent_egress(profile: Profile) -> list[Rule]:
    """Return where an agent may connect to: DNS, engines, the weather, its sessions, its traces, its AWS identity."""
    in_s3 = profile.agent_sessions != MEMORY
    return [
        DNS,
        _rule([ENGINES], ENGINE_PORT),
        egress_to(profile.weather_url),
        *([egress_to(profile.pods_s3_endpoint or AMAZON_S3)] if in_s3 else []),
        *([egress_to(profile.otlp_endpoint)] if profile.otlp_endpoint else []),
        *([_rule(POD_IDENTITY, 80)] if in_s3 else []),
    ]


def chat_egress(profile: Profile) -> list[Rule]:
    """Return where Open WebUI may connect to: DNS, engines, agents, its database. The small page has no such bounds.

    The address of the database is in a Secret, so that only its port is known here.
    """
    if profile.chat == "page":
        return []
    database = [_rule([*OUTSIDE, {"podSelector": {}}], POSTGRESQL_PORT)] if profile.chat_database else []
    return [DNS, _rule([ENGINES], ENGINE_PORT), _rule([AGENTS], AGENT_PORT), *database]


def ray_head_egress(profile: Profile) -> list[Rule]:
    """Return where a head may connect to beside its workers: DNS, the API server (its autoscaler), its Redis."""
    api_server = {"to": list(OUTSIDE), "ports": [{"protocol": "TCP", "port": port} for port in API_SERVER_PORTS]}
    return [DNS, api_server, *([egress_to(f"redis://{profile.ray_redis}")] if profile.ray_redis else [])]


def egress_to(url: str) -> Rule:
    """The narrowest rule that lets a pod reach an address.

    An IP address is itself. A Service's name (``name.namespace.svc``, or ``name`` of the same namespace) is any pod of
    its namespace. Every other name may be anywhere. Policies see a pod's port and not its Service's: the two must be
    the same.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (HTTPS if parts.scheme == "https" else 80)
    return _rule(_peers(host), port)


def _peers(host: str) -> Sequence[Peer]:
    inside = _IN_CLUSTER.fullmatch(host)
    if inside:
        return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": inside["namespace"]}}}]
    if _is_address(host):
        return [{"ipBlock": {"cidr": f"{host}/32"}}]
    return OUTSIDE if "." in host else [{"podSelector": {}}]


def store_ports(profile: Profile) -> list[int]:
    """Ports on which S3 answers: always 443, and the port of the profile's own endpoint."""
    if profile.pods_s3_endpoint is None:
        return [HTTPS]
    url = urlsplit(profile.pods_s3_endpoint)
    return sorted({HTTPS, url.port or (HTTPS if url.scheme == "https" else 80)})


def _rule(peers: Sequence[Peer], port: int) -> Rule:
    return {"to": list(peers), "ports": [{"protocol": "TCP", "port": port}]}


def _is_address(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
