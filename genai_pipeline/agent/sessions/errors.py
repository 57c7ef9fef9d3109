"""How sessions fail.

AgentError
├── NoSession          404  there is none of this id, or it is another caller's
├── StoreUnavailable   503  the store does not answer; nothing is lost, and nothing was kept
├── TakenOver          409  another replica took the session over, because this one did not renew its lease
├── TurnTooLarge       413  one turn alone is larger than a session may be
└── SessionBroken      500  the store holds something that cannot be a session
Busy                        another replica has the session now: wait
Conflict                    the record is no longer the one that was read
"""

from __future__ import annotations

from genai_pipeline.agent.errors import AgentError


class NoSession(AgentError):
    """The same words for both cases: nobody learns that another caller's session exists."""

    def __init__(self) -> None:
        super().__init__(404, "no_session", "There is no such session. Leave session_id out to start one.")


class StoreUnavailable(AgentError):
    def __init__(self, what: str) -> None:
        message = f"The sessions' store did not answer ({what}). The conversation is as it was before. Try again."
        super().__init__(503, "sessions_unavailable", message, 2)


class TakenOver(AgentError):
    def __init__(self) -> None:
        message = "The session went on elsewhere meanwhile, and this turn is no part of it. Ask again."
        super().__init__(409, "session_taken_over", message, 1)


class TurnTooLarge(AgentError):
    def __init__(self, size: int, limit: int) -> None:
        message = f"This turn takes {size} bytes; a whole session may hold {limit}. Ask for less."
        super().__init__(413, "turn_too_large", message)


class SessionBroken(AgentError):
    def __init__(self, session_id: str, what: str) -> None:
        message = f"The session {session_id[:8]}… cannot be read: {what}. Start a new one."
        super().__init__(500, "session_broken", message)


class Busy(Exception):
    """Another replica holds the lease."""


class Conflict(Exception):
    """A conditional write met another record than the expected one."""
