"""The ways in which a completion fails, and what follows for the endpoint and for the request.

    CompletionFailed
    ├── Stalled          The model sent nothing for too long.
    ├── BrokenStream     The answer breaks the protocol: the endpoint is to blame.
    ├── UnusableAnswer   A well-formed answer that cannot be used: the endpoint is not to blame.
    ├── LeftOut          The endpoint was not asked, because its circuit breaker is open.
    └── AllFailed        Several endpoints were asked and all failed.

Errors of the clients are recognised by the names of their types, so that no client is imported only for its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CompletionFailed(Exception):
    """The common base."""


class Stalled(CompletionFailed):
    """The model sent nothing for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"nothing came for {seconds:g} s")


class BrokenStream(CompletionFailed):
    """The answer breaks the protocol: it is not JSON, not a stream, or cut short. The text is a whole sentence."""


class UnusableAnswer(CompletionFailed):
    """The answer is well formed but cannot be used: too large, empty, or with malformed calls."""


class LeftOut(CompletionFailed):
    """The endpoint failed before and was not asked. Args: left_s: seconds until the next attempt."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s
        super().__init__("it failed before and is not asked now")


class AllFailed(CompletionFailed):
    """`failures`: place and error of each endpoint, in the order in which they were asked."""

    def __init__(self, failures: Sequence[tuple[str, BaseException]]) -> None:
        self.failures = list(failures)
        super().__init__("; ".join(f"{where}: {error}" for where, error in failures))


@dataclass(frozen=True)
class Fault:
    """The consequences of a failure.

    Args:
        counts: it counts towards opening the endpoint's breaker.
        elsewhere: another endpoint may answer.
        again: the same endpoint may answer when it is asked again at once.
        outcome: the label in `agent_completions_total`.
    """

    counts: bool
    elsewhere: bool
    again: bool
    outcome: str


DOWN = Fault(counts=True, elsewhere=True, again=True, outcome="failed")
SILENT = Fault(counts=True, elsewhere=True, again=False, outcome="failed")  # again would mean to wait twice
MISCONFIGURED = Fault(counts=True, elsewhere=True, again=False, outcome="failed")
BUSY = Fault(counts=False, elsewhere=True, again=True, outcome="busy")
UNUSABLE = Fault(counts=False, elsewhere=True, again=False, outcome="unusable")
CALLERS = Fault(counts=False, elsewhere=False, again=False, outcome="refused")
LEFT_OUT = Fault(counts=False, elsewhere=True, again=False, outcome="left_out")
UNKNOWN = Fault(counts=False, elsewhere=False, again=False, outcome="failed")  # most likely a mistake of this service

_BY_TYPE = {
    "Stalled": SILENT,
    "LeftOut": LEFT_OUT,
    "BrokenStream": SILENT,
    "UnusableAnswer": UNUSABLE,
    "ContextWindowOverflowException": CALLERS,
    "ModelThrottledException": BUSY,
    "APITimeoutError": SILENT,
    "APIConnectionError": DOWN,
    "TimeoutException": SILENT,  # httpx
    "TransportError": DOWN,  # httpx
    "NoCredentialsError": MISCONFIGURED,
    "ReadTimeoutError": SILENT,  # botocore and urllib3
    "ConnectTimeoutError": SILENT,
    "BotoCoreError": DOWN,
    "HTTPError": DOWN,  # urllib3, from within Bedrock's stream
}
_BY_STATUS = {400: CALLERS, 413: CALLERS, 422: CALLERS, 429: BUSY, 408: SILENT, 504: SILENT}
_BEDROCK_CALLERS = ("ValidationException",)
_BEDROCK_SET_UP = ("model identifier is invalid", "on-demand throughput", "don't have access to the model")
_BEDROCK_DOWN = (
    "ServiceUnavailableException", "InternalServerException", "ModelNotReadyException", "ModelErrorException",
    "ModelStreamErrorException", "ModelTimeoutException",
)  # fmt: skip


def fault_of(error: BaseException) -> Fault:
    """Return the consequences of an endpoint's error."""
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_TYPE:
            return _BY_TYPE[kind.__name__]
        if kind.__name__ == "APIStatusError":
            status = int(getattr(error, "status_code", 500))
            return _BY_STATUS.get(status, DOWN if status >= 500 else MISCONFIGURED)
        if kind.__name__ == "APIError":  # in a stream, which has no status any more
            return DOWN
        if kind.__name__ == "ClientError":
            return _bedrocks(error)
    return UNKNOWN


def bedrock_code(error: BaseException) -> str:
    """Return Bedrock's code of an error. In streams it begins with a small letter."""
    response = getattr(error, "response", None)
    code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
    return code[:1].upper() + code[1:]


def _bedrocks(error: BaseException) -> Fault:
    code = bedrock_code(error)
    if code in ("ThrottlingException", "ServiceQuotaExceededException"):
        return BUSY
    if code in _BEDROCK_CALLERS and not any(words in str(error) for words in _BEDROCK_SET_UP):
        return CALLERS
    return DOWN if code in _BEDROCK_DOWN else MISCONFIGURED
