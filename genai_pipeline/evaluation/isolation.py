"""Hold sessions side by side, each about its own place, and look for one that mentions the place of another."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from genai_pipeline.evaluation.agent_client import AgentClient
from genai_pipeline.evaluation.agent_suite import Isolation
from genai_pipeline.evaluation.normalized_text import normalized
from genai_pipeline.evaluation.reply import NotMeasured, Reply


@dataclass
class SessionResult:
    """One session: its place and its replies, first turn and follow-up."""

    place: str
    session_id: str
    replies: list[Reply] = field(default_factory=list[Reply])
    problem: str = ""


def run_isolation(agent: AgentClient, isolation: Isolation) -> list[SessionResult]:
    """Ask all first turns at once, then all follow-ups at once."""
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
    """Return where a session mentions another place, or is another session than the one that was asked for."""
    found: list[str] = []
    for number, reply in enumerate(session.replies, 1):
        said = normalized(reply.response)
        called = [normalized(str(value)) for call in reply.calls for value in call.arguments.values()]
        for other in map(normalized, others):
            if other in said or any(other in argument for argument in called):
                found.append(f"turn {number} of {session.place}'s session is about {other}")
        if not reply.problem and reply.session_id != session.session_id:
            found.append(f"turn {number} of {session.place}'s session came back as another session")
    return found


def remembers(session: SessionResult) -> bool:
    """Return whether the follow-up was about the session's own place; without that, isolation was not tested."""
    if len(session.replies) < 2:
        return False
    follow_up, own = session.replies[1], normalized(session.place)
    arguments = [normalized(str(value)) for call in follow_up.calls for value in call.arguments.values()]
    return own in normalized(follow_up.response) or own in arguments
