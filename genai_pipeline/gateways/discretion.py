"""What the libraries below us may log or say in an error: nothing that opens a door.

At debug level botocore logs every request with its Authorization, httpx and urllib3 the addresses they ask, whose
signatures let anybody read a gated file for an hour, and httpcore the redirects that lead there.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from genai_pipeline.core.errors import AccessDenied, Refused

_LEAST = {
    "boto3": logging.INFO,
    "botocore": logging.INFO,
    "httpcore": logging.INFO,
    "httpcore2": logging.INFO,
    "httpx": logging.WARNING,  # addresses are told at INFO already
    "httpx2": logging.WARNING,
    "huggingface_hub": logging.INFO,
    "urllib3": logging.INFO,
}


def keep_secrets_out_of_logs() -> None:
    """Raise the levels of these libraries, however low they or the root logger are set."""
    for name, least in _LEAST.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, least))


def require_sendable(secret: str, setting: str) -> None:
    """Raises: AccessDenied: no header can hold it; HTTP clients would say so with the secret itself in the message."""
    if not (secret.isascii() and secret.isprintable()):
        raise AccessDenied(
            f"{setting} holds a line end or another character that no header can hold.", "Set it again, without that."
        )


def require_open_address(address: str, setting: str) -> None:
    """Raises: Refused: it holds a password, and addresses stand in messages and logs."""
    if "@" in urlsplit(address).netloc:
        raise Refused(f"{setting} holds a user or a password, and would show it.", "Leave it out of the address.")
