"""Names the policy of AWS that denied a request, and who can change it. Takes secrets out of AWS's words. Pure.

Source: IAM user guide, "Troubleshoot access denied error messages"; KMS developer guide, "Key states of AWS KMS keys".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
UNKNOWN_KEYS = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken"})
CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "403"})
RENEW = "Get new ones: aws sso login, or a new role session. In a pod, restart it."
LONGEST_WORDS = 400

_ACTION = re.compile(r"is not authorized to perform: (?P<action>[\w-]+:\w+)")
_EXPLICIT = re.compile(r"with an explicit deny in an? (?P<policy>[\w -]+?)(?=[:.,]|$)(?:: (?P<arn>arn:\S+\w))?")
_IMPLICIT = re.compile(r"because no (?P<policy>[\w -]+?) allows the (?P<action>[\w-]+:\w+) action")
_OF_A_NODE = re.compile(r":assumed-role/[^/\s]+/i-[0-9a-f]{8,}")
_SECRET = re.compile(r"(?:The Canonical String for this request|Encoded authorization failure message).*", re.DOTALL)
_TOKEN = re.compile(r"[\w+/=.-]{100,}")
"""Session tokens and web identities are longer, and nothing else in AWS's messages is as long."""

_ORGANIZATION = "Only the administrators of the AWS organization can change it. A permission of the role does not help."
_WHO: Mapping[str, str] = {
    "service control policy": _ORGANIZATION,
    "resource control policy": _ORGANIZATION,
    "permissions boundary": "The administrators of IAM have to allow it in the boundary of the role, too.",
    "session policy": "Allow it in the policy with which these sessions are made, too.",
    "VPC endpoint policy": "Allow it in the policy of the VPC endpoint.",
    "resource-based policy": "Allow it in the policy of the bucket or of the key.",
}
_KEY_STATES = {
    "KMS.DisabledException": ("is disabled", "Enable it: aws kms enable-key."),
    "KMS.NotFoundException": ("does not exist", "Correct GENAI_KMS_KEY, or the encryption of the bucket."),
    "KMS.KMSInvalidStateException": ("waits for its deletion", "Take that back: aws kms cancel-key-deletion."),
}
NEW = "A permission that was granted just now takes up to a minute."


@dataclass(frozen=True)
class Denial:
    """Why AWS denied a request.

    Args:
        may_pass: a permission that was granted just now would look the same.
        named: AWS said which policy decided, or in which state a key is.
    """

    what: str
    remedy: str
    may_pass: bool = False
    named: bool = True


def denial(code: str, message: str, permission: str = "") -> Denial | None:
    """Return why AWS denied a request, or None where its answer is no denial.

    Args:
        permission: the action that was asked for, where the message names none.
    """
    if code in _KEY_STATES:
        state, remedy = _KEY_STATES[code]
        return Denial(f"The KMS key of the bucket {state} ({code})", remedy)
    if code not in DENIED:
        return None
    explicit, implicit, named = (pattern.search(message) for pattern in (_EXPLICIT, _IMPLICIT, _ACTION))
    action = named["action"] if named else permission or "this"
    if found := explicit or implicit:
        policy = found["policy"].removeprefix("a ")
        which = f" {explicit['arn']}" if explicit and explicit["arn"] else ""
        how = f"An explicit deny in a {policy}{which} denies {action}" if explicit else f"No {policy} allows {action}"
        if remedy := _WHO.get(policy):
            return Denial(how, remedy)
        if explicit:
            return Denial(how, "Remove the deny from the role's policy.")
        return Denial(how, _grant(message, action), may_pass=True)
    return Denial(f"AWS denies {action} ({code})", _grant(message, action), may_pass=True, named=False)


def safe_words(message: str) -> str:
    """Return AWS's message on one line, without tokens, signed texts and encoded policies."""
    return " ".join(_TOKEN.sub("…", _SECRET.sub("", message)).split())[:LONGEST_WORDS].rstrip(".")


def _grant(message: str, action: str) -> str:
    if _OF_A_NODE.search(message):
        return (
            "This pod has the role of its node: EKS Pod Identity gives credentials to new pods only. Make the "
            "association of its ServiceAccount, then restart the pod."
        )
    key = ", and in the policy of the KMS key" if action.startswith("kms:") else ""
    return f"Grant it to the role{key}. {NEW}"
