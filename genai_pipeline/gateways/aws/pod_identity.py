"""Waits for the credentials of a pod, which EKS Pod Identity gives some seconds after their role was made.

boto3 itself asks three times within some seconds. A later renewal needs no wait: it begins 15 minutes before the end.
Source: EKS user guide, "Learn how EKS Pod Identity grants pods access to AWS services" (eventual consistency).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from genai_pipeline.gateways.aws.denials import safe_words
from genai_pipeline.gateways.backoff import backoff_s

LONGEST_S = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 8.0
ADDRESS = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
REMEDY = (
    "EKS Pod Identity gave none. Check that an association binds a role to the pod's ServiceAccount (aws eks "
    "list-pod-identity-associations), and that the role trusts pods.eks.amazonaws.com. Then restart the pod."
)
NOT_GIVEN = (
    "EKS gives credentials to a pod when it is created, if an association binds a role to its ServiceAccount. Make the "
    "association, then restart the pod. Where a Secret holds AWS keys, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
_log = logging.getLogger(__name__)


def has_pod_identity() -> bool:
    """Return whether EKS gave this pod the address of its credentials."""
    return ADDRESS in os.environ


def lacks_pod_identity() -> bool:
    """Return whether this is a pod without that address: EKS adds it when a pod is created, and not later."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and not has_pod_identity()


def patient_session(region: str | None) -> Any:
    """Return a session of boto3 whose credentials were waited for, where they are those of a pod."""
    import boto3
    from botocore.session import get_session

    core = get_session()
    credentials_of(core)
    return boto3.Session(region_name=region, botocore_session=core)


def credentials_of(session: Any, sleep: Callable[[float], None] | None = None) -> Any:
    """Return the credentials of a session of botocore, or None where it finds none.

    Raises: CredentialRetrievalError: Pod Identity gave none within a minute. BotoCoreError: other ways to get them.
    """
    from botocore.exceptions import CredentialRetrievalError

    last, failures = time.monotonic() + LONGEST_S, 0
    while True:
        try:
            return session.get_credentials()
        except CredentialRetrievalError as error:
            failures += 1
            wait = backoff_s(failures, FIRST_WAIT_S, longest_s=LONGEST_WAIT_S)
            if not has_pod_identity() or time.monotonic() + wait > last:
                raise
            if failures == 1:
                _log.warning(
                    "EKS Pod Identity gives no credentials yet, asking for a minute: %s", safe_words(str(error))
                )
            (sleep or time.sleep)(wait)
