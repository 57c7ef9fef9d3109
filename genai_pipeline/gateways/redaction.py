"""Keeps secrets out of the logs and errors of the libraries below.

At debug level botocore logs each request with its Authorization. httpx and urllib3 log the addresses that they ask;
the signature in such an address lets a reader fetch a gated file for an hour. httpcore logs the redirects to them.
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
    "httpx": logging.WARNING,  # it logs addresses at INFO
    "httpx2": logging.WARNING,
    "huggingface_hub": logging.INFO,
    "urllib3": logging.INFO,
}


def keep_secrets_out_of_logs() -> None:
    """Raise the log levels of these libraries, however low their own or the root logger's is."""
    for name, least in _LEAST.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, least))


def require_sendable(secret: str, setting: str) -> None:
    """Refuse a secret that no HTTP header can hold. HTTP clients would show the secret in their own error.

    Raises: AccessDenied.
    """
    if not (secret.isascii() and secret.isprintable()):
        raise AccessDenied(
            f"{setting} contains a line end or another character that no HTTP header can hold.",
            "Set it again without that character.",
        )


def require_address_without_password(address: str, setting: str) -> None:
    """Refuse an address with a user or a password in it, because addresses appear in messages and logs.

    Raises: Refused.
    """
    if "@" in urlsplit(address).netloc:
        raise Refused(
            f"{setting} contains a user or a password, which would appear in logs.", "Leave it out of the address."
        )
