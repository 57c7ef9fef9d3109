"""Read the body of POST /agent: `{"prompt": "...", "session_id": "..."}`, the second optional."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.sessions.ids import SESSION_ID

FIELDS = ("prompt", "session_id")
EXAMPLE = 'Send {"prompt": "What time is it in Tokyo?"}.'


@dataclass(frozen=True)
class Question:
    """A checked request; without a session id it starts a new session."""

    prompt: str
    session_id: str | None = None

    @classmethod
    def parse(cls, body: bytes, content_type: str, max_prompt_chars: int) -> Question:
        """Raises: AgentError: 4xx that names what is wrong and what would be right."""
        if content_type != "application/json":
            raise AgentError(
                415, "not_json", f"The content type is {content_type or 'missing'}. Send application/json."
            )
        data = _json_object(body)
        for name in sorted(data.keys() - set(FIELDS)):
            close = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Known are {' and '.join(FIELDS)}."
            raise AgentError(400, "unknown_field", f"Unknown field {name[:40]!r}. {hint}")
        return cls(_prompt(data, max_prompt_chars), _session_id(data))


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise AgentError(400, "not_json", f"The body is not JSON in UTF-8. {EXAMPLE}") from error
    if not isinstance(data, dict):
        raise AgentError(400, "not_json", f"The body is not a JSON object. {EXAMPLE}")
    return data


def _prompt(data: dict[str, Any], max_chars: int) -> str:
    prompt = data.get("prompt")
    if not isinstance(prompt, str):
        what = "is missing" if "prompt" not in data else "is not a string"
        raise AgentError(400, "bad_prompt", f"The prompt {what}. {EXAMPLE}")
    if not prompt.strip():
        raise AgentError(400, "bad_prompt", f"The prompt is empty. {EXAMPLE}")
    if len(prompt) > max_chars:
        raise AgentError(
            400, "prompt_too_long", f"The prompt has {len(prompt)} characters; {max_chars} are allowed. Shorten it."
        )
    if any(0xD800 <= ord(char) <= 0xDFFF for char in prompt):
        raise AgentError(400, "bad_prompt", "The prompt has half of a surrogate pair, which is no character.")
    return prompt


def _session_id(data: dict[str, Any]) -> str | None:
    session_id = data.get("session_id")
    if session_id is None:
        return None
    if not isinstance(session_id, str) or not SESSION_ID.fullmatch(session_id):
        raise AgentError(
            400,
            "bad_session_id",
            "A session_id has 16 to 64 letters, digits, hyphens or underscores. "
            "Leave it out to start a session, then send the one in the answer.",
        )
    return session_id
