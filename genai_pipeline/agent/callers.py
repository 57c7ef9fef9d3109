"""Check the caller's key against AGENT_API_KEYS. Without keys, everyone may ask.

`X-Api-Key` is accepted too, and has priority: a proxy may need the Authorization header for itself. The service
proxy of Kubernetes' API server removes it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from genai_pipeline.agent.agent_errors import AgentError


def caller_key(headers: Mapping[str, str], keys: Sequence[str]) -> str:
    """Return the caller's key, or an empty text if the service has no keys. Args: headers: of the request, in any case.

    Raises: AgentError: 401; the key is missing or unknown. All known keys are compared, in constant time.
    """
    if not keys:
        return ""
    given = (headers.get("x-api-key") or _bearer(headers.get("authorization"))).strip().encode("latin-1", "replace")
    found = [key for key in keys if hmac.compare_digest(key.encode(), given)]
    if not found:
        raise _unauthorized("The key is unknown.")
    return found[0]


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise _unauthorized("This service needs a key.")
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise _unauthorized("The Authorization header does not hold a bearer key.")
    return given


def _unauthorized(what: str) -> AgentError:
    how = "Send the header Authorization: Bearer <key>, or X-Api-Key: <key>."
    return AgentError(401, "unauthorized", f"{what} {how}")
