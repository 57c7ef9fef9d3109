"""What the libraries below us may log: nothing that opens a door.

At debug level botocore logs every request with its Authorization, httpx and urllib3 the addresses they ask, whose
signatures let anybody read a gated file for an hour, and httpcore the redirects that lead there.
"""

from __future__ import annotations

import logging

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
