"""Ports, and what network policies need to know of the profile. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.core.profile import Profile

AGENT_PORT = 8080
CHAT_PORT = 8080
HTTPS = 443


def network_values(profile: Profile) -> dict[str, Any]:
    """What the template of the network policies needs."""
    return {"store_ports": store_ports(profile), "api_server_cidrs": list(profile.api_server_cidrs)}


def store_ports(profile: Profile) -> list[int]:
    """Ports on which S3 answers: always 443, and that of an endpoint of one's own."""
    if profile.pods_s3_endpoint is None:
        return [HTTPS]
    url = urlsplit(profile.pods_s3_endpoint)
    return sorted({HTTPS, url.port or (HTTPS if url.scheme == "https" else 80)})
