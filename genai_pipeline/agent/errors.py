"""What a caller is told when a request fails: a status, a code for programs, a sentence with the remedy."""

from __future__ import annotations


class AgentError(Exception):
    """Answered as `{"error": {"code", "message"}}`.

    Args:
        status: HTTP status.
        code: stable, for programs.
        retry_after_s: sent as Retry-After where trying again may help.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s
        super().__init__(message)


class ToolError(ValueError):
    """A tool could not answer; the model is told `Error: <message>`.

    A ValueError because Strands puts exactly that before the text of one; before others it puts the type's name.
    """
