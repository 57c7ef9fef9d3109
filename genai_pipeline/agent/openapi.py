"""What the OpenAPI document at /openapi.json says beyond what FastAPI finds in the code: answers, errors, examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Field

from genai_pipeline.agent.sessions.ids import SESSION_ID
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.turn_events import Count, Cycle, ToolUse

JSON = "application/json"
EXAMPLE_ID = "V1StGXR8_Z5jdHi6B-myT3bQ0pLk2NwE"
_ID_SCHEMA = {"type": "string", "pattern": f"^{SESSION_ID.pattern}$"}

ERRORS: Mapping[int, tuple[str, str, str]] = {
    400: ("The request is malformed.", "bad_prompt", 'The prompt is missing. Send {"prompt": "…"}.'),
    401: ("The key is missing or unknown.", "unauthorized", "This service needs a key."),
    404: ("The session does not exist, or it is another caller's.", "no_session", "There is no such session."),
    408: ("The body did not arrive in time.", "body_too_slow", "The body did not arrive within 10 s."),
    409: ("Another replica took the session over.", "session_taken_over", "Another replica has continued the session."),
    413: ("The body, the turn or the conversation is too long.", "body_too_large", "The body is larger than …"),
    415: ("The content type is not application/json.", "not_json", "The content type is text/plain."),
    429: ("Too many requests are under way.", "too_many_requests", "256 requests are under way. Try again in 1 s."),
    500: ("The agent failed unexpectedly.", "internal_error", "The agent failed unexpectedly. See the service's log."),
    502: ("The model gave no usable answer.", "tool_loop", "The model asked for tools 6 times."),
    503: ("The service cannot answer now; see the code.", "shutting_down", "The service is shutting down. Try again."),
    504: ("The answer took longer than the deadline.", "deadline", "There was no answer within 60 s."),
}
RETRIED = (409, 429, 503)

SessionId = Annotated[str, Field(pattern=f"^{SESSION_ID.pattern}$")]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Documented(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AgentReply(Documented):
    response: str
    session_id: SessionId
    usage: dict[str, Count]
    tools: list[ToolUse]
    cycles: list[Cycle]


class SessionTurn(Documented):
    at: Moment
    prompt: str
    response: str
    tools: list[ToolUse]


class Session(Documented):
    session_id: SessionId
    created: Moment
    last_used: Moment
    expires: Moment
    turns: list[SessionTurn]


class ReadinessAnswer(Documented):
    ready: bool
    release: str
    model: str
    reason: str = Field("", description="Why the service should get no requests.")
    note: str = Field("", description="What is wrong although the service is ready.")


class ErrorDetail(Documented):
    code: str
    message: str


class ErrorAnswer(Documented):
    error: ErrorDetail


TOOL = {"name": "get_weather", "arguments": {"location": "Zürich"}, "status": "success", "ms": 41.2}
REPLY = {
    "response": "In Zürich it is 12°C with light rain.",
    "session_id": EXAMPLE_ID,
    "usage": {"inputTokens": 412, "outputTokens": 31, "totalTokens": 443},
    "tools": [TOOL],
    "cycles": [
        {"ms": 180.4, "inputTokens": 190, "outputTokens": 14},
        {"ms": 203.9, "inputTokens": 222, "outputTokens": 17},
    ],
}
SESSION = {
    "session_id": EXAMPLE_ID,
    "created": "2026-11-24T14:32:01.004Z",
    "last_used": "2026-11-24T14:32:05.123Z",
    "expires": "2026-11-24T15:32:05.123Z",
    "turns": [
        {
            "at": "2026-11-24T14:32:05.123Z",
            "prompt": "What is the weather in Zürich?",
            "response": REPLY["response"],
            "tools": [TOOL],
        }
    ],
}
READY = {"ready": True, "release": "0123456789ab-cdef01", "model": "weather-agent"}
NOT_READY = READY | {"ready": False, "reason": "The service is starting."}
STREAM = (
    'event: tool_start\ndata: {"name": "get_weather", "arguments": {"location": "Zürich"}}\n\n'
    'event: tool_end\ndata: {"name": "get_weather", "status": "success", "ms": 41.2}\n\n'
    'event: delta\ndata: {"text": "In Zürich "}\n\n'
    'event: done\ndata: {"response": "In Zürich it is 12°C.", "session_id": "…", …}\n\n'
)
QUESTION_BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {"$ref": "#/components/schemas/Question"},
            "examples": {
                "new": {"summary": "Begin a session", "value": {"prompt": "What is the weather in Zürich?"}},
                "more": {
                    "summary": "Continue it",
                    "value": {"prompt": "And what time is it there?", "session_id": EXAMPLE_ID},
                },
            },
        }
    },
}
SESSION_PARAMETER = {"name": "session_id", "in": "path", "required": True, "schema": _ID_SCHEMA, "example": EXAMPLE_ID}


def answers(model: type[BaseModel], description: str, example: Any, status: int = 200) -> dict[int | str, Any]:
    """Describe one status whose body is this model."""
    content = {JSON: {"examples": {"example": {"value": example}}}}
    return {status: {"model": model, "description": description, "content": content}}


def reply_answers() -> dict[int | str, Any]:
    """Describe the answer of POST /agent, as JSON and as events."""
    description = "The answer; with Accept: text/event-stream as events, while it is made."
    described = answers(AgentReply, description, REPLY)
    described[200]["content"]["text/event-stream"] = {
        "schema": {
            "type": "string",
            "description": "Events delta, tool_start and tool_end; the last one is done (an AgentReply) or error.",
        },
        "examples": {"weather": {"value": STREAM}},
    }
    described[200]["links"] = {
        operation: {"operationId": operation, "parameters": {"session_id": "$response.body#/session_id"}}
        for operation in ("readSession", "deleteSession")
    }
    return described


def errors(settings: Settings, *statuses: int) -> dict[int | str, Any]:
    """Describe these statuses; 401 too where the service asks for keys."""
    described: dict[int | str, Any] = {}
    for status in sorted({*statuses, *((401,) if settings.keys else ())}):
        description, code, message = ERRORS[status]
        described |= answers(ErrorAnswer, description, {"error": {"code": code, "message": message}}, status)
        if status in RETRIED:
            described[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        if status == 401:
            described[status]["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return described


def secured(settings: Settings, **described: Any) -> dict[str, Any]:
    """Return the additions to the document of an operation that needs a key, if keys are set."""
    return described | ({"security": [{"key": []}, {"keyHeader": []}]} if settings.keys else {})


def document(app: FastAPI, settings: Settings, bodies: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of an application. Args: bodies: schemas of the requests' bodies, by their names."""
    described = get_openapi(
        title="Strands agent",
        version=settings.release_id or "0",
        description="Time and weather from a model with tools; one conversation for each session.",
        routes=app.routes,
    )
    described["components"]["schemas"] |= bodies
    described["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "keyHeader": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    }
    return described
