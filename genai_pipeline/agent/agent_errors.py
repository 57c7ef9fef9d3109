"""Errors of the service as the caller gets them: a status, a code for programs, a message with the remedy."""

from __future__ import annotations


class AgentError(Exception):
    """An error that is answered as `{"error": {"code", "message"}}`.

    Args:
        status: HTTP status.
        code: stable across versions, for programs.
        retry_after_s: sent as Retry-After if a retry may help.
        param: the field of the request that is wrong. Only errors in OpenAI's form show it.
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after_s: int | None = None, param: str | None = None
    ) -> None:
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s
        self.param = param
        super().__init__(message)


class ToolError(ValueError):
    """A tool failed. The model gets `Error: <message>`.

    It is a ValueError because Strands writes `Error: ` before a ValueError's text; before others it writes the type.
    """
