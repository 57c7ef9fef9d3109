"""The errors of sessions.

AgentError
├── NoSession          404  The session does not exist, or it is another caller's.
├── SessionsUnavailable   503  The store does not answer. The conversation is as before.
├── TakenOver          409  Another replica took the session over, because this one did not renew its lease.
├── TurnTooLarge       413  One turn is larger than a session may be.
└── SessionBroken      500  The stored object is not a session.
Busy                        Another replica has the session's lease: wait.
Conflict                    The stored object is no longer the version that was read.
"""

from __future__ import annotations

from genai_pipeline.agent.agent_errors import AgentError


class NoSession(AgentError):
    """The same words for both cases, so that a caller cannot find out that another caller's session exists."""

    def __init__(self) -> None:
        super().__init__(404, "no_session", "There is no such session. Leave session_id out to start one.")


class SessionsUnavailable(AgentError):
    def __init__(self, what: str) -> None:
        message = f"The store of the sessions did not answer ({what}). The conversation is as before. Try again."
        super().__init__(503, "sessions_unavailable", message, 2)


class TakenOver(AgentError):
    def __init__(self) -> None:
        message = "Another replica has continued the session, and this turn does not count. Ask again."
        super().__init__(409, "session_taken_over", message, 1)


class TurnTooLarge(AgentError):
    def __init__(self, size: int, limit: int) -> None:
        message = f"This turn has {size} bytes; a whole session may have {limit}. Ask for less."
        super().__init__(413, "turn_too_large", message)


class SessionBroken(AgentError):
    def __init__(self, session_id: str, what: str) -> None:
        message = f"The session {session_id[:8]}… cannot be read: {what}. Start a new one."
        super().__init__(500, "session_broken", message)


class Busy(Exception):
    """Another replica holds the lease."""


class Conflict(Exception):
    """A conditional write met another record than the expected one."""
