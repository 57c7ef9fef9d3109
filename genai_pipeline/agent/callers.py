"""Who asks: a bearer key out of AGENT_API_KEYS, or anybody where there are none."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from genai_pipeline.agent.errors import AgentError


class Unauthorized(AgentError):
    """Answered with WWW-Authenticate."""

    def __init__(self, what: str) -> None:
        super().__init__(401, "unauthorized", f"{what} Send the header Authorization: Bearer <key>.")


def caller_key(authorization: str | None, keys: Sequence[str]) -> str:
    """The caller's key; empty where none is asked for.

    Raises: Unauthorized: no key, or one that is not known. Each known one is compared, in constant time.
    """
    if not keys:
        return ""
    if not authorization:
        raise Unauthorized("This service needs a key.")
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Unauthorized("The Authorization header is not a bearer key.")
    found = [key for key in keys if hmac.compare_digest(key.encode(), given.strip().encode("latin-1", "replace"))]
    if not found:
        raise Unauthorized("The key is not known.")
    return found[0]
