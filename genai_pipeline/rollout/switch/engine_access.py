"""The token of the paths that only the pipeline may ask an engine for. It is in a Secret, and is never logged."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any

from genai_pipeline.core.errors import NotFound
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.redaction import require_sendable
from genai_pipeline.k8s.engine_cache import ENGINE_ACCESS, TOKEN_KEY
from genai_pipeline.k8s.render import render_engine_access


def ensure_token(cluster: Cluster, profile: Profile) -> None:
    """Make the Secret unless it has a token: pods get it as they start, so it must not change under them.

    Raises: Refused: the pipeline may not read or write it. ClusterUnavailable.
    """
    if not _token_in(cluster.get("Secret", ENGINE_ACCESS)):
        cluster.apply(render_engine_access(profile, secrets.token_urlsafe(32)))


def engine_token(cluster: Cluster) -> str:
    """Return the token. Raises: NotFound, AccessDenied: no header can hold it. Refused, ClusterUnavailable."""
    token = _token_in(cluster.get("Secret", ENGINE_ACCESS))
    if not token:
        raise NotFound(f"The Secret {ENGINE_ACCESS} has no {TOKEN_KEY}.", "The next rollout makes it.")
    require_sendable(token, f"{TOKEN_KEY} of the Secret {ENGINE_ACCESS}")
    return token


def _token_in(secret: Mapping[str, Any] | None) -> str:
    try:
        return base64.b64decode(((secret or {}).get("data") or {}).get(TOKEN_KEY, ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
