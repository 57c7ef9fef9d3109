"""Ids and owners of sessions."""

from __future__ import annotations

import hashlib
import re
import secrets

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
"""Short ids, which people can guess, are refused: without keys, an id is all that a reader needs."""


def new_session_id() -> str:
    """Return a new id of 192 random bits."""
    return secrets.token_urlsafe(24)


def owner_mark(session_id: str, key: str) -> str:
    """Return the digest by which a session recognises its caller's key. It is different in each session.

    It is empty if the service needs no key.
    """
    return hashlib.sha256(f"{session_id}\n{key}".encode()).hexdigest() if key else ""
