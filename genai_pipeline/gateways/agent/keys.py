"""The key that the pipeline shows to agents that ask for one: it stays in the environment, read where it is used."""

from __future__ import annotations

import os

from genai_pipeline.gateways.redaction import keep_secrets_out_of_logs

VARIABLE = "AGENT_API_KEYS"
REFUSED = (401, 403)
REMEDY = f"Set {VARIABLE} where the pipeline runs, to a key that this agent knows (docs/agent.md)."


def agent_key() -> str:
    """The first key of AGENT_API_KEYS; empty where there is none."""
    given = os.environ.get(VARIABLE, "").split(",")
    return next((key.strip() for key in given if key.strip()), "")


def key_headers() -> dict[bytes, bytes]:
    """Under both names, since the API server's service proxy takes the Authorization header off."""
    key = agent_key().encode()
    if not key:
        return {}
    keep_secrets_out_of_logs()
    return {b"Authorization": b"Bearer " + key, b"X-Api-Key": key}


def without_key(text: str) -> str:
    """What was said, for logs and records: whatever is at an agent's address may say again what it was sent."""
    key = agent_key()
    return text.replace(key, "…") if key else text
