"""What goes wrong with a completion, and what follows from it for the endpoint and for the request.

    CompletionFailed
    ├── Stalled          the model said nothing for too long
    ├── BrokenStream     what came is no completion: the endpoint is to blame
    ├── UnusableAnswer   a completion, but of no use: this answer is to blame, not the endpoint
    ├── LeftOut          its circuit breaker is open: it was not asked
    └── NoneAnswered     several endpoints, and none answered

What the clients raise is told apart by the names of its types, so that no client is imported only to name its errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CompletionFailed(Exception):
    """The common base."""


class Stalled(CompletionFailed):
    """Nothing came for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"nothing came for {seconds:g} s")


class BrokenStream(CompletionFailed):
    """What came breaks the protocol: no JSON, no stream, cut short."""


class UnusableAnswer(CompletionFailed):
    """Rightly formed and of no use: too large, empty, calls that are none."""


class LeftOut(CompletionFailed):
    """Not asked, because it failed before. Args: left_s: seconds until it is tried again."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s
        super().__init__("it failed before and is left out")


class NoneAnswered(CompletionFailed):
    """`failures`: where, and why not, in the order in which they were asked."""

    def __init__(self, failures: Sequence[tuple[str, BaseException]]) -> None:
        self.failures = list(failures)
        super().__init__("; ".join(f"{where}: {error}" for where, error in failures))


@dataclass(frozen=True)
class Fault:
    """What follows from a failure.

    Args:
        counts: towards opening the endpoint's breaker.
        elsewhere: another endpoint may do better.
        again: the same endpoint may do better right away.
        outcome: the label in `agent_completions_total`.
    """

    counts: bool
    elsewhere: bool
    again: bool
    outcome: str


DOWN = Fault(counts=True, elsewhere=True, again=True, outcome="failed")
SILENT = Fault(counts=True, elsewhere=True, again=False, outcome="failed")  # again would mean to wait twice
SET_UP_WRONG = Fault(counts=True, elsewhere=True, again=False, outcome="failed")
BUSY = Fault(counts=False, elsewhere=True, again=True, outcome="busy")
UNUSABLE = Fault(counts=False, elsewhere=True, again=False, outcome="unusable")
CALLERS = Fault(counts=False, elsewhere=False, again=False, outcome="refused")
LEFT_OUT = Fault(counts=False, elsewhere=True, again=False, outcome="left_out")
UNKNOWN = Fault(counts=False, elsewhere=False, again=False, outcome="failed")  # most likely ours

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
    "NoCredentialsError": SET_UP_WRONG,
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
    """What follows from what an endpoint raised."""
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_TYPE:
            return _BY_TYPE[kind.__name__]
        if kind.__name__ == "APIStatusError":
            status = int(getattr(error, "status_code", 500))
            return _BY_STATUS.get(status, DOWN if status >= 500 else SET_UP_WRONG)
        if kind.__name__ == "APIError":  # told within a stream, where there is no status any more
            return DOWN
        if kind.__name__ == "ClientError":
            return _bedrocks(error)
    return UNKNOWN


def bedrock_code(error: BaseException) -> str:
    """The code that Bedrock gave; streams write it with a small letter."""
    response = getattr(error, "response", None)
    code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
    return code[:1].upper() + code[1:]


def _bedrocks(error: BaseException) -> Fault:
    code = bedrock_code(error)
    if code in ("ThrottlingException", "ServiceQuotaExceededException"):
        return BUSY
    if code in _BEDROCK_CALLERS and not any(words in str(error) for words in _BEDROCK_SET_UP):
        return CALLERS
    return DOWN if code in _BEDROCK_DOWN else SET_UP_WRONG
