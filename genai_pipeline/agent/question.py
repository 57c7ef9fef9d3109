"""Read the body of POST /agent: `{"prompt": "...", "session_id": "..."}`; the session id is optional."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from starlette.requests import ClientDisconnect

from genai_pipeline.agent.agent_errors import AgentError
from genai_pipeline.agent.sessions.ids import SESSION_ID

READ_DEADLINE_S = 10.0
DRAIN_FACTOR = 16
"""A body of up to so many times the limit is read to its end and dropped: a client that still sends reads no answer."""
EXAMPLE = 'Send {"prompt": "What time is it in Tokyo?"}.'
_PROBLEMS = {
    "missing": "is missing",
    "string_type": "is not a string",
    "string_unicode": "has half of a surrogate pair, which is not a character",
}


class Question(BaseModel):
    """A question to the agent. Without a session id it begins a session."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, Field(min_length=1, pattern=r"\S")]
    session_id: Annotated[
        Annotated[str, Field(pattern=f"^{SESSION_ID.pattern}$")] | None,
        Field(description="Of an earlier answer. Without it a new session begins."),
    ] = None


def limited_question(max_prompt_chars: int) -> type[Question]:
    """Return the model of a question whose prompt has at most so many characters."""
    prompt = Annotated[str, Field(min_length=1, max_length=max_prompt_chars, pattern=r"\S")]
    return create_model("Question", __base__=Question, __doc__=Question.__doc__, prompt=(prompt, ...))


async def read_question(request: Request, model: type[Question], max_bytes: int) -> Question:
    """Raises: AgentError: a 4xx that names what is wrong and what is allowed."""
    return parse_question(*await read_body(request, max_bytes), model)


def parse_json(body: bytes, content_type: str, example: str) -> dict[str, Any]:
    """Return the object in a body. Args: example: a sentence with a right one. Raises: AgentError: 400 or 415."""
    if content_type != "application/json":
        raise AgentError(415, "not_json", f"The content type is {content_type or 'missing'}. Send application/json.")
    try:
        data = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise AgentError(400, "not_json", f"The body is not JSON in UTF-8. {example}") from error
    if not isinstance(data, dict):
        raise AgentError(400, "not_json", f"The body is not a JSON object. {example}")
    return data


def parse_question(body: bytes, content_type: str, model: type[Question]) -> Question:
    """Raises: AgentError: see read_question."""
    data = parse_json(body, content_type, EXAMPLE)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        raise _refusal(problems[0]) from error


def _refusal(problem: Any) -> AgentError:
    """Return the answer to one problem that pydantic found."""
    kind, field = problem["type"], str(problem["loc"][0])
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(field, Question.model_fields, n=1)
        known = " and ".join(Question.model_fields)
        hint = f"Did you mean {close[0]}?" if close else f"The known fields are {known}."
        return AgentError(400, "unknown_field", f"Unknown field {field[:40]!r}. {hint}")
    if field == "session_id":
        message = "A session_id has 16 to 64 letters, digits, hyphens or underscores."
        hint = "Leave it out to begin a session, then send the one in the answer."
        return AgentError(400, "bad_session_id", f"{message} {hint}")
    if kind == "string_too_long":
        length, allowed = len(problem["input"]), problem["ctx"]["max_length"]
        message = f"The prompt has {length} characters; {allowed} are allowed. Shorten it."
        return AgentError(400, "prompt_too_long", message)
    return AgentError(400, "bad_prompt", f"The prompt {_PROBLEMS.get(kind, 'is empty')}. {EXAMPLE}")


async def read_body(request: Request, max_bytes: int) -> tuple[bytes, str]:
    """Return the body and its content type. Raises: AgentError: 400, 408 or 413."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(READ_DEADLINE_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= max_bytes:
                    body += chunk
                elif size > DRAIN_FACTOR * max_bytes:
                    break
    except TimeoutError as error:
        raise AgentError(408, "body_too_slow", f"The body did not arrive within {READ_DEADLINE_S:g} s.") from error
    except ClientDisconnect as error:
        raise AgentError(400, "bad_request", "The connection ended before the body did.") from error
    if size > max_bytes:
        raise AgentError(413, "body_too_large", f"The body is larger than {max_bytes} bytes. Shorten it.")
    return bytes(body), request.headers.get("content-type", "").partition(";")[0].strip().lower()
