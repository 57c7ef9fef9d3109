"""The service's OpenAPI document, at /openapi.json.

Written by hand, since the body is checked by hand (question.py): each mistake has its own words, which FastAPI's
generated 422 has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.agent.settings import Settings

JSON = "application/json"
SESSION = "V1StGXR8_Z5jdHi6B-myT3bQ0pLk2NwE"

ERRORS: Mapping[int, tuple[str, str, str]] = {
    400: ("The request is not understood.", "bad_prompt", 'The prompt is missing. Send {"prompt": "…"}.'),
    401: ("The bearer key is missing or not known.", "unauthorized", "This service needs a key."),
    404: ("There is no such session, or it is another caller's.", "no_session", "There is no such session."),
    405: ("The method does not go with the path.", "wrong_method", "PUT does not go with /agent."),
    408: ("The body did not arrive in time.", "body_too_slow", "The body did not arrive within 10 s."),
    409: ("Another replica took the session over.", "session_taken_over", "The session went on elsewhere meanwhile."),
    413: ("The body, the turn or the conversation is too long.", "body_too_large", "The body is larger than …"),
    415: ("The content type is not application/json.", "not_json", "The content type is text/plain."),
    429: ("Too many requests are under way.", "too_many_requests", "256 requests are under way. Try again in 1 s."),
    500: ("The agent failed unexpectedly.", "internal_error", "The agent failed unexpectedly. See the service's log."),
    502: ("The model gave no answer that can be used.", "tool_loop", "The model asked for tools 6 times."),
    503: ("Not now: see the code.", "shutting_down", "The service is shutting down. Try again."),
    504: ("No answer within the deadline.", "deadline", "No answer within 60 s. Ask for less, or try again later."),
}
RETRIED = (409, 429, 503)

TOOL = {"name": "get_weather", "arguments": {"location": "Zürich"}, "status": "success", "ms": 41.2}
REPLY = {
    "response": "In Zürich it is 12°C with light rain.",
    "session_id": SESSION,
    "usage": {"inputTokens": 412, "outputTokens": 31, "totalTokens": 443},
    "tools": [TOOL],
    "cycles": [
        {"ms": 180.4, "inputTokens": 190, "outputTokens": 14},
        {"ms": 203.9, "inputTokens": 222, "outputTokens": 17},
    ],
}
STREAM = (
    'event: tool_start\ndata: {"name": "get_weather", "arguments": {"location": "Zürich"}}\n\n'
    'event: tool_end\ndata: {"name": "get_weather", "status": "success", "ms": 41.2}\n\n'
    'event: delta\ndata: {"text": "In Zürich "}\n\n'
    'event: done\ndata: {"response": "In Zürich it is 12°C.", "session_id": "…", …}\n\n'
)


def document(settings: Settings) -> dict[str, Any]:
    """The document for these limits; the keys are described where some are asked for."""
    secured: dict[str, Any] = {"security": [{"key": []}, {"keyHeader": []}]} if settings.keys else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Strands agent",
            "version": settings.release_id or "0",
            "description": "Time and weather by way of a model with tools; one conversation per session.",
        },
        "paths": {
            "/agent": {"post": _agent(bool(settings.keys)) | secured},
            "/sessions/{session_id}": {
                "parameters": [_session_parameter()],
                "get": _view(bool(settings.keys)) | secured,
                "delete": _delete(bool(settings.keys)) | secured,
            },
            "/healthz": _read("Alive", "The process answers.", {"200": _health()}),
            "/readyz": _read("Ready", "The model completed something lately.", _ready()),
            "/metrics": _read("Metrics", "For Prometheus.", {"200": _text("text/plain", "Metrics.")}),
            "/openapi.json": _read("OpenAPI", "This document.", {"200": _json({"type": "object"}, "It.")}),
        },
        "components": {
            "schemas": _schemas(settings),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "keyHeader": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def _agent(keyed: bool) -> dict[str, Any]:
    answered = {
        "description": "The answer; as events, with Accept: text/event-stream, while it is made.",
        "content": {
            JSON: {"schema": _ref("Reply"), "examples": {"weather": {"value": REPLY}}},
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "description": "Events delta, tool_start, tool_end, and at the end done (a Reply) or error.",
                },
                "examples": {"weather": {"value": STREAM}},
            },
        },
        "links": {name: _link(name) for name in ("readSession", "deleteSession")},
    }
    new = {"summary": "Begin a session", "value": {"prompt": "What is the weather in Zürich?"}}
    more = {"summary": "Go on", "value": {"prompt": "And what time is it there?", "session_id": SESSION}}
    return {
        "operationId": "ask",
        "summary": "One turn of a conversation",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": _ref("Question"), "examples": {"new": new, "more": more}}},
        },
        "responses": {"200": answered} | _errors(400, 404, 408, 409, 413, 415, 429, 500, 502, 503, 504, keyed=keyed),
    }


def _view(keyed: bool) -> dict[str, Any]:
    turn = {"at": "2026-11-24T14:32:05.123Z", "prompt": "What is the weather in Zürich?"}
    shown = {
        "session_id": SESSION,
        "created": "2026-11-24T14:32:01.004Z",
        "last_used": "2026-11-24T14:32:05.123Z",
        "expires": "2026-11-24T15:32:05.123Z",
        "turns": [turn | {"response": REPLY["response"], "tools": [TOOL]}],
    }
    answers = {"200": _json(_ref("Session"), "The conversation.", shown)}
    return _get(
        "Read a conversation", "Its turns, oldest first.", answers | _errors(404, 500, 503, 504, keyed=keyed)
    ) | {"operationId": "readSession"}


def _delete(keyed: bool) -> dict[str, Any]:
    return {
        "operationId": "deleteSession",
        "summary": "Forget a conversation",
        "description": "After the turns that are under way.",
        "responses": {"204": {"description": "It is gone."}} | _errors(404, 409, 500, 503, 504, keyed=keyed),
    }


def _link(operation: str) -> dict[str, Any]:
    return {"operationId": operation, "parameters": {"session_id": "$response.body#/session_id"}}


def _get(summary: str, description: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "description": description, "responses": {**responses}}


def _read(summary: str, description: str, responses: Mapping[str, Any]) -> dict[str, Any]:
    """GET, and HEAD for load balancers that ask so."""
    without_body = {status: {"description": answer["description"]} for status, answer in responses.items()}
    return {"get": _get(summary, description, responses), "head": _get(summary, description, without_body)}


def _health() -> dict[str, Any]:
    return _json({"type": "object"}, "Alive.", {"status": "alive"})


def _ready() -> dict[str, Any]:
    ready = {"ready": True, "release": "0123456789ab-cdef01", "model": "weather-agent"}
    not_yet = ready | {"ready": False, "reason": "The service is starting."}
    return {
        "200": _json(_ref("Readiness"), "Send requests.", ready),
        "503": _json(_ref("Readiness"), "Send none.", not_yet),
    }


def _errors(*statuses: int, keyed: bool) -> dict[str, Any]:
    return {str(status): _error(status) for status in sorted((*statuses, *((401,) if keyed else ())))}


def _error(status: int) -> dict[str, Any]:
    what, code, message = ERRORS[status]
    headers: dict[str, Any] = {}
    if status in RETRIED:
        headers["Retry-After"] = {"schema": {"type": "integer"}, "description": "Seconds."}
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    answer = _json(_ref("Error"), what, {"error": {"code": code, "message": message}})
    return answer | ({"headers": headers} if headers else {})


def _json(schema: Mapping[str, Any], description: str, example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["examples"] = {"example": {"value": example}}
    return {"description": description, "content": {JSON: content}}


def _text(media_type: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _session_parameter() -> dict[str, Any]:
    return {"name": "session_id", "in": "path", "required": True, "schema": _session_id(), "example": SESSION}


def _session_id() -> dict[str, Any]:
    return {"type": "string", "pattern": "^[A-Za-z0-9_-]{16,64}$"}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _schemas(settings: Settings) -> dict[str, Any]:
    count, ms, text = {"type": "integer", "minimum": 0}, {"type": "number", "minimum": 0}, {"type": "string"}
    tokens = {"inputTokens": count, "outputTokens": count}
    usage = _object(tokens | {"totalTokens": count}) | {"additionalProperties": count}
    status = {"type": "string", "enum": ["success", "error", "unfinished"]}
    moment = {"type": "string", "format": "date-time"}
    turn = _object({"at": moment, "prompt": text, "response": text, "tools": _list("ToolUse")})
    prompt = {"type": "string", "minLength": 1, "maxLength": settings.max_prompt_chars, "pattern": r"\S"}
    again = _session_id() | {
        "type": ["string", "null"],
        "description": "Of an earlier answer; without one, a new session.",
    }
    return {
        "Question": _object({"prompt": prompt}, {"session_id": again}),
        "Reply": _object(
            {"response": text, "session_id": _session_id(), "usage": usage}
            | {"tools": _list("ToolUse"), "cycles": _list("Cycle")}
        ),
        "ToolUse": _object({"name": text, "arguments": {"type": "object"}, "status": status, "ms": ms}),
        "Cycle": _object({"ms": ms} | tokens),
        "Turn": turn,
        "Session": _object(
            {"session_id": _session_id(), "created": moment, "last_used": moment, "expires": moment}
            | {"turns": _list("Turn")}
        ),
        "Readiness": _object(
            {"ready": {"type": "boolean"}, "release": text, "model": text}, {"reason": text, "note": text}
        ),
        "Error": _object({"error": _object({"code": text, "message": text})}),
    }


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}
