"""Who asks: a bearer key out of AGENT_API_KEYS, or anybody where there are none.

`X-Api-Key` is taken as well, and stands above: what is in front of a service may want the Authorization header for
itself, as the service proxy of Kubernetes' API server does, which takes it off.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from genai_pipeline.agent.errors import AgentError


class Unauthorized(AgentError):
    """Answered with WWW-Authenticate."""

    def __init__(self, what: str) -> None:
        super().__init__(
            401, "unauthorized", f"{what} Send the header Authorization: Bearer <key>, or X-Api-Key: <key>."
        )


def caller_key(headers: Mapping[str, str], keys: Sequence[str]) -> str:
    """The caller's key; empty where none is asked for. Args: headers: of the request, whatever their case.

    Raises: Unauthorized: no key, or one that is not known. Each known one is compared, in constant time.
    """
    if not keys:
        return ""
    given = (headers.get("x-api-key") or _bearer(headers.get("authorization"))).strip().encode("latin-1", "replace")
    found = [key for key in keys if hmac.compare_digest(key.encode(), given)]
    if not found:
        raise Unauthorized("The key is not known.")
    return found[0]


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Unauthorized("This service needs a key.")
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthorized("The Authorization header is not a bearer key.")
    return given
