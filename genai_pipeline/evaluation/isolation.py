"""Sessions side by side, each about a place of its own: does any hear of another one's?"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from genai_pipeline.evaluation.agent_client import AgentClient, NotMeasured, Reply
from genai_pipeline.evaluation.folding import fold
from genai_pipeline.evaluation.suite import Isolation


@dataclass
class SessionResult:
    """One session: what it was about and what it said, first turn and follow-up."""

    place: str
    session_id: str
    replies: list[Reply] = field(default_factory=list[Reply])
    problem: str = ""


def run_isolation(agent: AgentClient, isolation: Isolation) -> list[SessionResult]:
    """All first turns at once, then all follow-ups at once."""
    sessions = [SessionResult(place, uuid.uuid4().hex) for place in isolation.places]

    def ask(session: SessionResult, prompt: str) -> None:
        if session.problem:
            return
        try:
            session.replies.append(agent.ask(prompt, session.session_id))
        except NotMeasured as error:
            session.problem = error.reason

    with ThreadPoolExecutor(len(sessions)) as pool:
        list(pool.map(lambda s: ask(s, isolation.ask.replace("{place}", s.place)), sessions))
        list(pool.map(lambda s: ask(s, isolation.follow_up), sessions))
    return sessions


def leaks(session: SessionResult, others: list[str]) -> list[str]:
    """Where a session shows something of the others' places, or is not the session that was asked for."""
    found: list[str] = []
    for number, reply in enumerate(session.replies, 1):
        said = fold(reply.response)
        called = [fold(str(value)) for call in reply.calls for value in call.arguments.values()]
        for other in map(fold, others):
            if other in said or any(other in argument for argument in called):
                found.append(f"turn {number} of {session.place}'s session is about {other}")
        if not reply.problem and reply.session_id != session.session_id:
            found.append(f"turn {number} of {session.place}'s session came back as another session")
    return found


def remembers(session: SessionResult) -> bool:
    """The follow-up was about the session's own place: without that, isolation was not put to the test."""
    if len(session.replies) < 2:
        return False
    follow_up, own = session.replies[1], fold(session.place)
    arguments = [fold(str(value)) for call in follow_up.calls for value in call.arguments.values()]
    return own in fold(follow_up.response) or own in arguments
