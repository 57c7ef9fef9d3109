"""The key that the pipeline shows to agents that ask for one: it stays in the environment, read where it is used."""

from __future__ import annotations

import os

from genai_pipeline.gateways.redaction import keep_secrets_out_of_logs

VARIABLE = "AGENT_API_KEYS"
REFUSED = (401, 403)
REMEDY = f"Set {VARIABLE} where the pipeline runs, to a key that this agent knows (docs/agent.md)."


def agent_key() -> str:
    """Return the first key of AGENT_API_KEYS, or an empty text where there is no key."""
    given = os.environ.get(VARIABLE, "").split(",")
    return next((key.strip() for key in given if key.strip()), "")


def key_headers() -> dict[bytes, bytes]:
    """Return the key in two headers, because the API server's service proxy removes the Authorization header."""
    key = agent_key().encode()
    if not key:
        return {}
    keep_secrets_out_of_logs()
    return {b"Authorization": b"Bearer " + key, b"X-Api-Key": key}


def without_key(text: str) -> str:
    """Return the text without the key, for logs and records: a service may repeat what it was sent."""
    key = agent_key()
    return text.replace(key, "…") if key else text
