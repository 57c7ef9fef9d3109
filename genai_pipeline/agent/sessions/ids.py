"""Ids of sessions, and whose a session is."""

from __future__ import annotations

import hashlib
import re
import secrets

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
"""Without keys, whoever knows an id reads the conversation: short ones, which people guess, are refused."""


def new_session_id() -> str:
    """192 random bits."""
    return secrets.token_urlsafe(24)


def owner_mark(session_id: str, key: str) -> str:
    """What a session remembers of its caller's key: enough to know it again, different in every session.

    Empty where no keys are asked for.
    """
    return hashlib.sha256(f"{session_id}\n{key}".encode()).hexdigest() if key else ""
